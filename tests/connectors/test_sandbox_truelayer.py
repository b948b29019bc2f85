"""The simulated TrueLayer behaves as its documents say."""

import json
from typing import Any
from urllib.parse import urlencode

import pytest
import truelayer_signing

from connectors.provider import ApiRequest
from connectors.sandbox.simulator import DAY, Callback, NewLink
from tests.connectors.sandboxes import BASE_URL, NOW, SECOND, Simulated, said, shown

SEED = "aKiW35RWSyF"
SEED_PAYMENT = "60c0a60ed8d7-4e5b-ac79-401b1d8a8633"


@pytest.fixture
def truelayer() -> Simulated:
    return Simulated("truelayer")


def authorized(truelayer: Simulated) -> dict[str, str]:
    secrets = truelayer.site.secrets
    form = {
        "grant_type": "client_credentials",
        "client_id": secrets["client_id"],
        "client_secret": secrets["client_secret"],
        "scope": "payments",
    }
    request = ApiRequest("POST", "/connect/token", {}, urlencode(form).encode())
    return {
        "authorization": f"Bearer {shown(truelayer.sandbox.answer(request, NOW))['access_token']}"
    }


def get(truelayer: Simulated, path: str) -> Any:
    return shown(truelayer.call("GET", f"/v3/{path}", headers=authorized(truelayer)))


def lived(truelayer: Simulated, *words: str) -> None:
    truelayer.sandbox.create(NewLink("link-1", 700, "GBP"), NOW)
    for word in words:
        truelayer.sandbox.move("link-1", word, NOW)


def verify(truelayer: Simulated, callback: Callback, path: str, headers: dict[str, str]) -> None:
    """As a receiver does, with the key set the simulator publishes."""
    jwks = shown(truelayer.call("GET", "/.well-known/jwks"))
    header = truelayer_signing.extract_jws_header(headers["Tl-Signature"])
    assert header.jku == f"{BASE_URL}/truelayer/.well-known/jwks"
    verifier = truelayer_signing.verify_with_jwks(jwks, header)
    verifier.set_method(truelayer_signing.HttpMethod.POST).set_path(path)
    verifier.add_headers(headers).add_required_header("X-TL-Webhook-Timestamp")
    verifier.set_body(callback.body.decode()).verify(headers["Tl-Signature"])


def test_the_link_of_the_seed_has_its_payment(truelayer: Simulated) -> None:
    truelayer.sandbox.seed("", NOW)
    (payment,) = get(truelayer, f"payment-links/{SEED}/payments")["items"]
    assert (payment["id"], payment["status"]) == (SEED_PAYMENT, "settled")
    assert get(truelayer, f"payments/{SEED_PAYMENT}") == payment


@pytest.mark.parametrize(
    ("example", "link", "payment"),
    [
        ("payment_created", "disabling", "authorizing"),
        ("payment_executed", "disabling", "executed"),
        ("payment_settled", "disabling", "settled"),
        ("payment_creditable", "disabling", "settled"),
        ("payment_failed", "enabled", "failed"),
        ("disabled_fulfilled", "disabled", "settled"),
        ("disabled_expired", "disabled", "failed"),
        ("refund_executed", "disabling", "settled"),
    ],
)
def test_the_link_of_the_seed_agrees_with_an_example(
    truelayer: Simulated, example: str, link: str, payment: str
) -> None:
    truelayer.sandbox.seed("", NOW)
    truelayer.sandbox.seed(example, NOW)
    truelayer.sandbox.seed("", NOW)  # a restart changes nothing
    assert get(truelayer, f"payment-links/{SEED}")["status"] == link
    assert get(truelayer, f"payments/{SEED_PAYMENT}")["status"] == payment


def test_credentials_are_asked_for(truelayer: Simulated) -> None:
    assert truelayer.call("GET", f"/v3/payment-links/{SEED}").status == 401
    assert truelayer.call("POST", "/connect/token", {"client_id": "me"}).status == 400


def test_a_link_is_created_once_for_an_idempotency_key(truelayer: Simulated) -> None:
    payment = {"amount_in_minor": 101, "currency": "GBP", "metadata": {"order": "7"}}
    asked = {"type": "single_payment", "payment_configuration": payment}
    headers = authorized(truelayer) | {"tl-signature": "x..y"}
    assert truelayer.call("POST", "/v3/payment-links", asked, headers).status == 400
    headers["idempotency-key"] = "1"
    first = truelayer.call("POST", "/v3/payment-links", asked, headers)
    again = truelayer.call("POST", "/v3/payment-links", asked, headers)
    assert (first.status, first.body) == (201, again.body)
    link_id = json.loads(first.body)["id"]
    assert get(truelayer, f"payment-links/{link_id}")["status"] == "enabled"
    truelayer.sandbox.move(link_id, "payment_created", NOW)
    (paying,) = get(truelayer, f"payment-links/{link_id}/payments")["items"]
    assert (paying["amount_in_minor"], paying["metadata"]) == (101, {"order": "7"})
    truelayer.sandbox.move(link_id, "executed", NOW)
    created, executed = said(truelayer.owed())
    assert ("metadata" in created, executed["metadata"]) == (False, {"order": "7"})


def test_events_of_a_paid_link(truelayer: Simulated) -> None:
    lived(truelayer, "payment_created", "executed", "settled", "creditable", "fulfilled")
    events = said(truelayer.owed())
    assert [event["type"] for event in events] == [
        "payment_link_payment_created",
        "payment_executed",
        "payment_settled",
        "payment_creditable",
        "payment_link_disabled",
    ]
    assert len({event["event_id"] for event in events}) == 5
    payment_id = events[0]["payment"]["id"]
    assert {event["payment_id"] for event in events[1:4]} == {payment_id}
    assert ["payment_link_id" in event for event in events] == [True, False, False, False, True]
    assert events[4]["disabled_reason"] == "fulfilled"
    assert events[2]["settled_at"] == "2023-11-14T22:13:20.000Z"
    assert {"executed_at", "settled_at", "creditable_at"} <= get(
        truelayer, f"payments/{payment_id}"
    ).keys()


def test_other_business_comes_to_the_same_uri_and_changes_no_link(truelayer: Simulated) -> None:
    lived(truelayer, "payment_created", "settled")
    created, _ = said(truelayer.owed())
    before = get(truelayer, "payment-links/link-1"), get(truelayer, "payment-links/link-1/payments")
    for word in ("refund_executed", "refund_failed", "payout_executed", "mandate_authorized"):
        truelayer.sandbox.move("link-1", word, NOW)
    refund, _, payout, mandate = events = said(truelayer.owed())
    assert (refund["type"], refund["payment_id"]) == ("refund_executed", created["payment"]["id"])
    assert {"refund_id", "executed_at"} <= refund.keys()
    assert {"payout_id", "executed_at"} <= payout.keys()
    assert {"mandate_id", "authorized_at"} <= mandate.keys()
    assert not any("payment_link_id" in event for event in events)
    assert "payment_id" not in payout | mandate
    after = get(truelayer, "payment-links/link-1"), get(truelayer, "payment-links/link-1/payments")
    assert after == before


def test_a_failed_payment_leaves_its_link_open(truelayer: Simulated) -> None:
    lived(truelayer, "payment_created", "failed", "payment_created", "settled")
    first, second = get(truelayer, "payment-links/link-1/payments")["items"]
    assert (first["status"], second["status"]) == ("failed", "settled")
    assert first["failure_reason"] == "provider_rejected"
    lived(truelayer, "payment_created", "failed")
    assert get(truelayer, "payment-links/link-1")["status"] == "enabled"


def test_events_are_signed_with_the_key_in_the_key_set(truelayer: Simulated) -> None:
    lived(truelayer, "expired")
    (callback,) = truelayer.owed()
    headers = truelayer.sandbox.sign(truelayer.site, callback, truelayer.site.callback_url, NOW)
    assert headers["X-Tl-Webhook-Timestamp"] == "2023-11-14T22:13:20Z"
    verify(truelayer, callback, "/callbacks/truelayer", headers)
    with pytest.raises(truelayer_signing.errors.TlSigningException):
        verify(truelayer, callback, "/callbacks/elsewhere", headers)
    with pytest.raises(truelayer_signing.errors.TlSigningException):
        verify(truelayer, Callback(b"{}"), "/callbacks/truelayer", headers)


@pytest.mark.parametrize(
    ("words", "status"), [([], "disabled"), (["payment_created", "settled"], "disabling")]
)
def test_an_unused_link_expires_after_a_day(
    truelayer: Simulated, words: list[str], status: str
) -> None:
    lived(truelayer, *words)
    (alarm,) = truelayer.store.rung(NOW + DAY * SECOND)
    truelayer.sandbox.woken(alarm.key, NOW + DAY * SECOND)
    assert get(truelayer, "payment-links/link-1")["status"] == status
