"""The simulated Peach: its Checkout, its signature, its retries and its batches.

`test_documented` plays its API.
"""

import hashlib
import hmac
import json
from collections.abc import Iterator
from urllib.parse import parse_qsl

import pytest

from connectors.providers.base import ApiRequest, ApiResponse
from connectors.providers.peach import Peach, PeachConfig
from connectors.providers.peach.link_sandbox import (
    CHECKOUT_BRANDS,
    new,
    payment_fields,
    requested,
    shown,
    with_status,
)
from connectors.providers.peach.links import BRANDS
from connectors.providers.raw import Raw, read
from connectors.providers.simulator import DAY, Doc
from schemas.records import LinkEvent, Notice
from tests.connectors.providers.exchanges import run
from tests.connectors.sandbox.sandboxes import BASE_URL, NOW, SECOND, Simulated, json_bodies


class SimulatedPeach(Simulated):
    """The simulator with a client of its API, which is the pipeline's own."""

    def __init__(self) -> None:
        super().__init__("peach")
        self.provider = Peach(PeachConfig.model_validate(self.settings()))

    def facts(self) -> Iterator[LinkEvent | Notice]:
        """Yield what the pipeline reads from the new callbacks."""
        for callback in self.callbacks():
            headers = {"content-type": callback.content_type}
            raw = Raw("peach", callback.body, headers, "callback", True, NOW, "x")
            facts = self.provider.read(raw)
            yield from facts.events
            yield from (payment["event"] for payment in facts.payments if payment["event"])
            yield from facts.notices

    def link(self) -> Doc:
        return self.store.of("peach").get("link", "link-1") or {}

    def change(self, **terms: str | None) -> None:
        self.store.of("peach").put("link", "link-1", self.link() | terms)

    def upload(self, file: bytes) -> ApiResponse:
        """Create a batch with this file."""
        token = self.sandbox.issue_token(60, NOW)
        headers = {"authorization": f"Bearer {token}"}
        path = "/api/channels/e1/payments/batches"
        batch = json.loads(self.call("POST", path, {"filename": "may.csv"}, headers).body)
        path = batch["url"].removeprefix(f"{BASE_URL}/peach")
        return self.sandbox.respond(ApiRequest("PUT", path, {}, file), NOW)


@pytest.fixture
def peach() -> SimulatedPeach:
    return SimulatedPeach()


def test_links_are_paid_with_all_brands() -> None:
    links = [new(f"link-{number}", "1.00", "ZAR", NOW) for number in range(200)]
    assert {link["paymentBrand"] for link in links} == set(BRANDS)


@pytest.mark.parametrize("brand", [*BRANDS, "A BRAND OF TOMORROW"])
def test_every_spelling_of_a_brand_is_readable(peach: SimulatedPeach, brand: str) -> None:
    """The Checkout spells two brands differently."""
    peach.create("processing")
    peach.change(paymentBrand=brand)
    peach.callbacks()
    peach.sandbox.advance("link-1", "completed", NOW)
    brands = {fact["attributes"]["paymentBrand"] for fact in peach.facts()}
    assert brands == {brand, CHECKOUT_BRANDS.get(brand, brand)}


def test_checkout_of_a_paid_link_sends_webhooks_too(peach: SimulatedPeach) -> None:
    peach.create("opened", "processing", "completed")
    callbacks = peach.callbacks()
    brand = peach.link()["paymentBrand"]
    completed = {"status": "completed", "paymentId": "link-1", "paymentBrand": brand}
    assert json_bodies(callbacks)[-1] == completed
    forms = [dict(parse_qsl(c.body.decode())) for c in callbacks if "form" in c.content_type]
    assert [form["result.code"] for form in forms] == ["000.200.000", "000.100.110"]
    checkout = shown(peach.link())["payment"]["checkout"]
    assert {form["checkoutId"] for form in forms} == {checkout["checkoutId"]}


def test_only_the_checkout_reports_uncertain_abandoned_and_refunded(peach: SimulatedPeach) -> None:
    peach.create("processing", "uncertain", "abandoned", "completed", "refunded")
    statuses = [str(fact.get("provider_status", "")) for fact in peach.facts()]
    of_link = [status for status in statuses if status and "/" not in status]
    # The last webhook is two facts: that the link is completed, and the claim that it is paid.
    assert of_link == ["initiated", "processing", "completed", "completed"]
    assert [status for status in statuses if "/" in status] == [
        "checkout/pending",
        "checkout/uncertain",
        "checkout/cancelled",
        "checkout/successful",
        "refund/successful",
    ]
    assert peach.link()["status"] == "completed"


@pytest.mark.parametrize(("brand", "has_token"), [("VISA", True), ("MOBICRED", False)])
def test_card_gets_a_token_if_the_merchant_requests_one(brand: str, has_token: bool) -> None:
    payment = {"payment": {"amount": 99.5, "currency": "ZAR"}, "checkout": {"tokeniseCard": True}}
    link = next(
        link
        for number in range(1000)
        if (link := requested(f"link-{number}", payment, NOW))["paymentBrand"] == brand
    )
    paid = with_status(link, "completed", NOW)
    checkout = shown(paid)["payment"]["checkout"]
    tokens = ("registrationId" in payment_fields(paid), "registrationId" in checkout)
    assert tokens == (has_token, has_token)
    assert checkout["transactionUniqueId"] == link["transactionId"]


def test_webhook_has_the_four_signature_headers(peach: SimulatedPeach) -> None:
    peach.create()
    (callback,) = peach.callbacks()
    url = peach.site.callback_url
    headers = peach.sandbox.sign(peach.site, callback, url, NOW)
    message = f"1700000000.{headers['x-webhook-id']}.{url}.{callback.body.decode()}"
    secret = peach.site.secrets["webhook_secret"].encode()
    expected = hmac.new(secret, message.encode(), hashlib.sha256).hexdigest()
    assert headers["x-webhook-timestamp"] == "1700000000"
    assert headers["x-webhook-signature"] == expected
    assert "x-webhook-signature-algorithm" in headers
    repeat = peach.sandbox.sign(peach.site, callback, url, NOW + SECOND)
    assert repeat["x-webhook-id"] == headers["x-webhook-id"]


def test_webhooks_repeat_as_documented_for_thirty_days(peach: SimulatedPeach) -> None:
    pauses = peach.sandbox.RETRY_SECONDS
    assert [pause / 60 for pause in pauses[:6]] == [2, 4, 8, 15, 30, 60]
    assert set(pauses[6:]) == {float(DAY)}
    assert 29 * DAY < sum(pauses) <= 30 * DAY
    assert (peach.sandbox.JITTER, list(peach.sandbox.ACKNOWLEDGED)) == (0.0, [200])


@pytest.mark.parametrize(
    "file",
    [b"", b"\xff", b"name\nx\n", b"amount,currency\n", b"amount,currency\n" + b"1,ZAR\n" * 1001],
)
def test_invalid_file_ends_the_batch_with_an_error(peach: SimulatedPeach, file: bytes) -> None:
    assert peach.upload(file).status == 200
    statuses = [body["status"] for body in json_bodies(peach.callbacks())]
    assert statuses == ["initiated", "processing", "error"]


@pytest.mark.parametrize(("forged", "status"), [(False, "completed"), (True, "not found")])
def test_batch_query_checks_an_unsigned_batch_event(
    peach: SimulatedPeach, forged: bool, status: str
) -> None:
    peach.upload(b"amount,currency\n12.50,ZAR\n")
    event = json_bodies(peach.callbacks())[-1] | ({"batchId": "invented"} if forged else {})
    callback = Raw("peach", json.dumps(event).encode(), {}, "callback", False, NOW, "x")
    claim = peach.provider.read(callback)
    (lookup,) = claim.lookups
    assert [notice["kind"] for notice in claim.notices] == ["batch"]
    assert (lookup["claimed_status"], lookup["issued"]) == (None, False)
    answer, _ = run(peach.provider.lookup(lookup, NOW), peach.respond)
    headers = {"lookup-link": lookup["link_id"], "lookup-status": str(answer.status)}
    facts = peach.provider.read(read("peach", answer.body, headers, "x", 1))
    (notice,) = facts.notices
    stated = (notice["kind"], notice["subject_id"], notice["status"])
    assert stated == ("batch_lookup", event["batchId"], status)
    # A batch is not a link, so there is no event of a link.
    assert (facts.events, facts.payments, facts.lookups) == ((), (), ())
