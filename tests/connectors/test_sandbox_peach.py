"""The simulated Peach behaves as its documents say."""

import hashlib
import hmac
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl

import pytest

from connectors.peach import Peach, PeachConfig
from connectors.peach.link_sandbox import BRANDS, CHECKOUT_BRANDS, new, signature
from connectors.provider import Answer, ApiRequest, Inbound, Lookup, Raw
from connectors.sandbox.simulator import DAY, NewLink
from schemas.records import LinkEvent, Notice
from tests.connectors.sandboxes import NOW, SECOND, Simulated, said, shown

SEED = "00d886d6-4754-4bcc-b88f-74a53d5220e5"


@pytest.fixture
def peach() -> Simulated:
    return Simulated("peach")


def authorized(peach: Simulated, now: int = NOW) -> dict[str, str]:
    secrets = peach.site.secrets
    credentials = {
        "clientId": secrets["client_id"],
        "clientSecret": secrets["client_secret"],
        "merchantId": secrets["merchant_id"],
    }
    token = shown(peach.call("POST", "/api/oauth/token", credentials, now=now))
    assert (token["token_type"], token["expires_in"]) == ("Bearer", 14_400)
    return {"authorization": f"Bearer {token['access_token']}"}


def query(peach: Simulated, link_id: str) -> Any:
    return shown(peach.call("GET", f"/api/payments/{link_id}", headers=authorized(peach)))


def test_the_link_of_the_seed_is_paid(peach: Simulated) -> None:
    peach.sandbox.seed("", NOW)
    response = peach.call("GET", f"/api/payments/{SEED}", headers=authorized(peach))
    payment = json.loads(response.body, parse_float=Decimal)["payment"]["payment"]
    assert b'"amount": 123.45' in response.body
    assert (payment["status"], payment["amount"], payment["currency"]) == (
        "completed",
        Decimal("123.45"),
        "ZAR",
    )


@pytest.mark.parametrize(("example", "status"), [("expired", "expired"), ("checkout", "completed")])
def test_the_link_of_the_seed_agrees_with_an_example(
    peach: Simulated, example: str, status: str
) -> None:
    peach.sandbox.seed("", NOW)
    peach.sandbox.seed(example, NOW)
    peach.sandbox.seed("", NOW)  # a restart changes nothing
    assert query(peach, SEED)["payment"]["payment"]["status"] == status


def test_a_token_is_asked_for_and_ends(peach: Simulated) -> None:
    peach.sandbox.seed("", NOW)
    path = f"/api/payments/{SEED}"
    assert peach.call("POST", "/api/oauth/token", {"clientId": "me"}).status == 401
    assert peach.call("GET", path).status == 401
    assert peach.call("GET", path, headers={"authorization": "Bearer guessed"}).status == 401
    headers = authorized(peach)
    assert peach.call("GET", path, headers=headers, now=NOW + 14_399 * SECOND).status == 200
    assert peach.call("GET", path, headers=headers, now=NOW + 14_400 * SECOND).status == 401


def test_a_link_lives_through_the_api(peach: Simulated) -> None:
    asked = {
        "payment": {"merchantInvoiceId": "INV-902", "amount": 99.5, "currency": "ZAR"},
        "options": {"notificationUrl": "http://elsewhere.test/hook", "expiryTime": 5},
    }
    headers = authorized(peach)
    link = shown(peach.call("POST", "/api/channels/e1/payments", asked, headers))
    path = f"/api/payments/{link['id']}"
    assert peach.call("DELETE", path, headers=headers).status == 200
    assert peach.call("DELETE", path, headers=headers).status == 400
    callbacks = peach.owed()
    assert said(callbacks) == [
        {"status": "initiated", "url": link["url"], "paymentId": link["id"]},
        {"status": "cancelled", "paymentId": link["id"]},
    ]
    assert {callback.url for callback in callbacks} == {"http://elsewhere.test/hook"}
    payment = query(peach, link["id"])["payment"]
    assert payment["payment"]["merchantInvoiceId"] == "INV-902"
    assert peach.call("POST", "/api/channels/e1/payments", {}, headers).status == 400
    assert peach.call("GET", "/api/payments/none", headers=headers).status == 404


def test_a_query_never_says_opened(peach: Simulated) -> None:
    peach.sandbox.create(NewLink("link-1", 12345, "ZAR"), NOW)
    peach.sandbox.move("link-1", "opened", NOW)
    assert query(peach, "link-1")["payment"]["payment"]["status"] == "initiated"
    assert [body["status"] for body in said(peach.owed())] == ["initiated", "opened"]


@pytest.mark.parametrize("brand", [*BRANDS, "A BRAND OF TOMORROW"])
def test_a_link_is_paid_with_any_brand(peach: Simulated, brand: str) -> None:
    """The Checkout spells two of them otherwise: no spelling is refused."""
    peach.sandbox.seed("", NOW)
    links = peach.store.of("peach")
    link = links.get("link", SEED)
    assert link is not None
    links.put("link", SEED, link | {"paymentBrand": brand, "status": "processing"})
    peach.sandbox.move(SEED, "completed", NOW)
    told = {fact["attributes"]["paymentBrand"] for fact in facts(peach)}
    assert told == {brand, CHECKOUT_BRANDS.get(brand, brand)}


def facts(peach: Simulated) -> Iterator[LinkEvent | Notice]:
    """What the pipeline reads from the callbacks owed."""
    provider = Peach(PeachConfig())
    for callback in peach.owed():
        headers = {"content-type": callback.content_type}
        read = provider.read(Raw("peach", callback.body, headers, "callback", True, NOW, "x"))
        yield from read.events
        yield from (payment["event"] for payment in read.payments if payment["event"])
        yield from read.notices


def test_links_are_paid_with_all_brands() -> None:
    links = [new(f"link-{number}", "1.00", "ZAR", NOW) for number in range(200)]
    assert {link["paymentBrand"] for link in links} == set(BRANDS)


def test_a_paid_link_has_webhooks_of_its_checkout_too(peach: Simulated) -> None:
    peach.sandbox.create(NewLink("link-1", 12345, "ZAR"), NOW)
    for word in ("opened", "processing", "completed"):
        peach.sandbox.move("link-1", word, NOW)
    callbacks = peach.owed()
    assert said(callbacks)[-1] == {
        "status": "completed",
        "paymentId": "link-1",
        "paymentBrand": new("link-1", "1.00", "ZAR", NOW)["paymentBrand"],
    }
    forms = [dict(parse_qsl(c.body.decode())) for c in callbacks if "form" in c.content_type]
    assert [form["result.code"] for form in forms] == ["000.200.000", "000.100.110"]
    assert {form["checkoutId"] for form in forms} == {
        query(peach, "link-1")["payment"]["checkout"]["checkoutId"]
    }


def test_a_checkout_tells_what_its_link_does_not(peach: Simulated) -> None:
    peach.sandbox.create(NewLink("link-1", 12345, "ZAR"), NOW)
    words = ("processing", "uncertain", "abandoned", "completed", "refunded")
    for word in words:
        peach.sandbox.move("link-1", word, NOW)
    statuses = [str(fact.get("provider_status", "")) for fact in facts(peach)]
    statuses = [word for word in statuses if word]
    assert [word for word in statuses if "/" not in word] == [
        "initiated",
        "processing",
        "completed",
    ]
    assert [word for word in statuses if "/" in word] == [
        "checkout/pending",
        "checkout/uncertain",
        "checkout/cancelled",
        "checkout/successful",
        "refund/successful",
    ]
    assert query(peach, "link-1")["payment"]["payment"]["status"] == "completed"


@pytest.mark.parametrize(("brand", "tokenised"), [("VISA", True), ("MOBICRED", False)])
def test_a_card_is_registered_where_the_merchant_asked_for_it(
    peach: Simulated, brand: str, tokenised: bool
) -> None:
    asked = {
        "payment": {"amount": 99.5, "currency": "ZAR"},
        "checkout": {"tokeniseCard": True},
    }
    known = {"paymentBrand": ""}
    while known["paymentBrand"] != brand:
        link = shown(peach.call("POST", "/api/channels/e1/payments", asked, authorized(peach)))
        known = peach.store.of("peach").get("link", link["id"]) or known
    peach.owed()
    peach.sandbox.move(link["id"], "completed", NOW)
    callback = said(peach.owed())[0]
    checkout = query(peach, link["id"])["payment"]["checkout"]
    assert ("registrationId" in callback, "registrationId" in checkout) == (tokenised, tokenised)
    assert checkout["transactionUniqueId"] == known["transactionId"]


def test_the_body_of_a_checkout_webhook_is_signed_as_documented() -> None:
    """The known answer of the vendor's page on Checkout authentication."""
    params = {
        "amount": "2",
        "authentication.entityId": "8ac7a4ca68c22c4d0168c2caab2e0025",
        "currency": "ZAR",
        "defaultPaymentMethod": "CARD",
        "merchantTransactionId": "Test1234",
        "nonce": "JHGJSGHDSKJHGJDHGJH",
        "paymentType": "DB",
        "shopperResultUrl": "https://webhook.site/4e9b63bf-0d99-4d62-bd24-1d36ca866e1b",
    }
    assert signature(params, "3fcd7cf22f55119eadbe02d14de18c0c") == (
        "311ed8e11e2da00d98c7479ca390a5396fe643e13629d850243dada877963afd"
    )


def test_webhooks_carry_the_four_headers(peach: Simulated) -> None:
    peach.sandbox.create(NewLink("link-1", 12345, "ZAR"), NOW)
    (callback,) = peach.owed()
    url = peach.site.callback_url
    headers = peach.sandbox.sign(peach.site, callback, url, NOW)
    timestamp = headers["x-webhook-timestamp"]
    message = f"{timestamp}.{headers['x-webhook-id']}.{url}.{callback.body.decode()}"
    expected = hmac.new(
        peach.site.secrets["webhook_secret"].encode(), message.encode(), hashlib.sha256
    )
    assert timestamp == "1700000000"
    assert headers["x-webhook-signature"] == expected.hexdigest()
    assert "x-webhook-signature-algorithm" in headers
    again = peach.sandbox.sign(peach.site, callback, url, NOW + SECOND)
    assert again["x-webhook-id"] == headers["x-webhook-id"]


@pytest.mark.parametrize(("paid", "status"), [(False, "expired"), (True, "completed")])
def test_an_unpaid_link_expires_when_its_time_is_over(
    peach: Simulated, paid: bool, status: str
) -> None:
    peach.sandbox.create(NewLink("link-1", 12345, "ZAR"), NOW)
    if paid:
        peach.sandbox.move("link-1", "completed", NOW)
    month = 30 * DAY * SECOND
    assert peach.store.rung(NOW + month - 1) == []
    (alarm,) = peach.store.rung(NOW + month)
    peach.sandbox.woken(alarm.key, NOW + month)
    assert query(peach, "link-1")["payment"]["payment"]["status"] == status


def test_webhooks_are_repeated_as_documented_for_thirty_days(peach: Simulated) -> None:
    waits = peach.sandbox.RETRY_SECONDS
    assert [wait / 60 for wait in waits[:6]] == [2, 4, 8, 15, 30, 60]
    assert set(waits[6:]) == {float(DAY)}
    assert 29 * DAY < sum(waits) <= 30 * DAY
    assert (peach.sandbox.JITTER, list(peach.sandbox.ACKNOWLEDGED)) == (0.0, [200])


def a_batch(peach: Simulated) -> tuple[str, str, dict[str, str]]:
    headers = authorized(peach)
    asked = {"filename": "may.csv", "notificationUrl": "http://elsewhere.test/batches"}
    made = shown(peach.call("POST", "/api/channels/e1/payments/batches", asked, headers))
    return made["id"], made["url"].removeprefix("http://sandbox.test/peach"), headers


def upload(peach: Simulated, url: str, file: bytes) -> int:
    return peach.sandbox.answer(ApiRequest("PUT", url, {}, file), NOW).status


def test_a_batch_is_told_of_with_its_links(peach: Simulated) -> None:
    batch, url, headers = a_batch(peach)
    rows = b"amount,currency,merchantInvoiceId\n12.50,ZAR,INV-1\nmany,ZAR,INV-2\n7,ZAR,\n"
    assert upload(peach, url, rows) == 200
    assert upload(peach, url, rows) == 403
    callbacks = peach.owed()
    told = said(callbacks)
    assert {callback.url for callback in callbacks} == {"http://elsewhere.test/batches"}
    events = [(body["status"], body.get("totalRows")) for body in told if "batchId" in body]
    assert events == [("initiated", None), ("processing", None), ("completed", 3)]
    made = [body for body in told if "paymentId" in body]
    assert [body["status"] for body in made] == ["initiated"] * 2
    payment = query(peach, made[0]["paymentId"])["payment"]["payment"]
    assert (payment["amount"], payment["merchantInvoiceId"]) == (12.5, "INV-1")
    answer = shown(peach.call("GET", f"/api/batches/{batch}", headers=headers))
    assert (answer["status"], answer["successfulRows"], answer["totalRows"]) == ("completed", 2, 3)


@pytest.mark.parametrize(
    "file",
    [b"", b"\xff", b"name\nx\n", b"amount,currency\n", b"amount,currency\n" + b"1,ZAR\n" * 1001],
)
def test_a_file_that_is_none_is_an_error_of_the_batch(peach: Simulated, file: bytes) -> None:
    _, url, _ = a_batch(peach)
    upload(peach, url, file)
    assert [body["status"] for body in said(peach.owed())] == ["initiated", "processing", "error"]


def test_a_batch_expires_when_nothing_is_uploaded_in_three_hours(peach: Simulated) -> None:
    batch, url, _ = a_batch(peach)
    hours = 3 * 3600 * SECOND
    assert peach.store.rung(NOW + hours - 1) == []
    (alarm,) = peach.store.rung(NOW + hours)
    peach.sandbox.woken(alarm.key, NOW + hours)
    assert said(peach.owed())[-1] == {"batchId": batch, "status": "expired"}
    assert upload(peach, url, b"amount,currency\n1,ZAR\n") == 403


def answered(peach: Simulated, asking: Lookup) -> Answer:
    """What comes of asking the simulated API, each request below its mount."""
    try:
        wanted = next(asking)
        while True:
            _, _, path = wanted.url.removeprefix("http://sandbox.test/").partition("/")
            below = ApiRequest(wanted.method, f"/{path}", wanted.headers, wanted.body)
            wanted = asking.send(peach.sandbox.answer(below, NOW))
    except StopIteration as end:
        answer: Answer = end.value
        return answer


@pytest.mark.parametrize(("forged", "status"), [(False, "completed"), (True, "not found")])
def test_what_a_batch_claims_is_asked_of_the_batch_query(
    peach: Simulated, forged: bool, status: str
) -> None:
    batch, url, _ = a_batch(peach)
    upload(peach, url, b"amount,currency\n1,ZAR\n")
    told = peach.sandbox.environment(peach.site)
    names = ("links_url", "auth_url", "client_id", "client_secret", "merchant_id")
    provider = Peach(PeachConfig.model_validate({name: told[name.upper()] for name in names}))
    claimed = {"batchId": "invented" if forged else batch, "status": "completed"}
    callback = Raw("peach", json.dumps(claimed).encode(), {}, "callback", False, NOW, "x")
    (question,) = provider.read(callback).questions
    assert (question["claimed_status"], question["issued"]) == (None, False)
    answer = answered(peach, provider.lookup(question, NOW))
    about = {"lookup-status": str(answer.status)}
    raw = Raw("peach", answer.body, about, "lookup", True, NOW, "x", link_id=question["link_id"])
    facts = provider.read(raw)
    (notice,) = facts.notices
    assert (notice["kind"], notice["subject_id"], notice["status"]) == (
        "batch lookup",
        claimed["batchId"],
        status,
    )
    # It is no link: nothing is said of one.
    assert (facts.events, facts.payments, facts.questions) == ((), (), ())


def test_what_a_batch_says_is_read_as_a_notice_though_it_comes_unsigned(peach: Simulated) -> None:
    _, url, _ = a_batch(peach)
    upload(peach, url, b"amount,currency\n1,ZAR\n")
    secret = peach.site.secrets["webhook_secret"]
    told = {"webhook_secrets": [secret], "webhook_url": peach.site.callback_url}
    provider = Peach(PeachConfig.model_validate(told))
    callbacks = [c for c in peach.owed() if b"batchId" in c.body]
    assert callbacks
    for callback in callbacks:
        headers = peach.sandbox.sign(peach.site, callback, peach.site.callback_url, NOW)
        assert headers == {}
        assert provider.authenticate(Inbound("/", headers, callback.body), None, NOW) is False
        (notice,) = provider.read(
            Raw("peach", callback.body, {}, "callback", False, NOW, "x")
        ).notices
        assert notice["kind"] == "batch"
