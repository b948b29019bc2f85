"""Peach: its signatures, and what comes unsigned."""

import hmac

import pytest
from pydantic import ValidationError

from connectors import examples
from connectors.peach import Peach, PeachConfig, checkout, links, signature
from connectors.provider import BadSignature, Inbound
from schemas.records import LinkEvent, PaymentLink
from streams.domain.joining import join
from tests.connectors import golden

URL = "https://shop.example/callbacks/peach"
LINK = examples.body("peach", "completed")


def peach(*secrets: str) -> Peach:
    return Peach(PeachConfig.model_validate({"webhook_secrets": secrets, "webhook_url": URL}))


def inbound(body: bytes, content_type: str = "application/json", **headers: str) -> Inbound:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Inbound("/callbacks/peach", {"content-type": content_type, **named}, body)


def test_the_documented_body_signature_is_reproduced() -> None:
    # "Checkout authentication": the documents' own key, parameters and result.
    form = {
        "amount": "2",
        "authentication.entityId": "8ac7a4ca68c22c4d0168c2caab2e0025",
        "currency": "ZAR",
        "defaultPaymentMethod": "CARD",
        "merchantTransactionId": "Test1234",
        "nonce": "JHGJSGHDSKJHGJDHGJH",
        "paymentType": "DB",
        "shopperResultUrl": "https://webhook.site/4e9b63bf-0d99-4d62-bd24-1d36ca866e1b",
    }
    signed = signature.of_form(form, "3fcd7cf22f55119eadbe02d14de18c0c")
    assert signed == "311ed8e11e2da00d98c7479ca390a5396fe643e13629d850243dada877963afd"


def test_without_secrets_every_callback_is_a_claim() -> None:
    assert Peach(PeachConfig()).authenticate(inbound(LINK), None, 0) is False


def test_secrets_need_the_url_that_is_signed() -> None:
    with pytest.raises(ValidationError, match="WEBHOOK_URL"):
        PeachConfig.model_validate({"webhook_secrets": ["one"]})


@pytest.mark.parametrize(
    "body", [b'{"verificationCode": "KX4-223"}', b'{"batchId": "1", "status": "error"}']
)
def test_probes_and_batch_events_come_unsigned(body: bytes) -> None:
    assert peach("one").authenticate(inbound(body), None, 0) is False


@pytest.mark.parametrize(
    "body",
    [
        LINK,
        examples.body("peach", "completed-as-printed"),
        b'{"status": "completed"}',
        b'{"paymentId": "1", "batchId": "1", "status": "completed"}',
        b"not json",
        b"[]",
        b"",
    ],
)
def test_nothing_else_does(body: bytes) -> None:
    with pytest.raises(BadSignature):
        peach("one").authenticate(inbound(body), None, 0)


def test_an_unsigned_checkout_event_is_refused() -> None:
    form = examples.body("peach", "checkout")
    with pytest.raises(BadSignature):
        peach("one").authenticate(
            inbound(form, examples.content_type("peach", "checkout")), None, 0
        )


def test_a_probe_with_a_wrong_signature_is_refused() -> None:
    probe = inbound(b'{"verificationCode": "KX4-223"}', x_webhook_signature="00")
    with pytest.raises(BadSignature):
        peach("one").authenticate(probe, None, 0)


@pytest.mark.parametrize(
    ("url", "path", "proven"),
    [
        (URL, "/callbacks/peach", True),
        # A proxy in between may have other paths than the outside.
        (URL, "/inside/peach", True),
        # A link's own `notificationUrl` takes the place of the one configured.
        (f"{URL}/order/7", "/callbacks/peach/order/7", True),
        (f"{URL}/order/7", "/callbacks/peach/order/8", False),
        ("https://another.example/callbacks/peach", "/callbacks/peach", False),
        ("http://shop.example/callbacks/peach", "/callbacks/peach", False),
        (f"{URL}?order=7", "/callbacks/peach", False),
    ],
)
def test_what_is_signed_is_where_it_was_sent(url: str, path: str, proven: bool) -> None:
    message = f"1700000000.w1.{url}.".encode() + LINK
    headers = {
        "x-webhook-timestamp": "1700000000",
        "x-webhook-id": "w1",
        "x-webhook-signature": hmac.new(b"one", message, "sha256").hexdigest(),
    }
    sent = Inbound(path, headers, LINK)
    if proven:
        assert peach("one").authenticate(sent, None, 0) is True
        return
    with pytest.raises(BadSignature):
        peach("one").authenticate(sent, None, 0)


def test_a_signature_beyond_ascii_is_wrong_and_no_error() -> None:
    with pytest.raises(BadSignature):
        peach("one").authenticate(inbound(LINK, x_webhook_signature="\xe9\udcff"), None, 0)


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        ("000.000.000", "successful"),
        ("000.100.110", "successful"),
        ("000.300.000", "successful"),
        ("000.600.000", "successful"),
        ("000.400.110", "successful"),
        ("000.400.120", "successful"),
        ("000.400.100", "rejected"),
        ("000.200.000", "pending"),
        ("100.396.101", "cancelled"),
        ("100.396.104", "uncertain"),
        ("800.100.152", "rejected"),
        ("999.999.999", "rejected"),
    ],
)
def test_result_codes_have_their_documented_outcome(code: str, outcome: str) -> None:
    assert checkout.outcome(code) == outcome


# "Payment Links webhooks", the table of webhook events.
SEED_BRANDS = """VISA, MASTERCARD, DINERS CLUB, AMERICAN EXPRESS, MASTERPASS, MOBICRED, MPESA,
 1FORYOU, APLUS, PAYPAL, ZEROPAY, PAYFLEX, BLINKBYEMTEL, CAPITECPAY, MCBJUICE, PEACHEFT"""


def test_the_sixteen_brands_are_known_and_others_are_free_text() -> None:
    told = frozenset(brand.strip() for brand in SEED_BRANDS.split(","))
    assert (told, len(told)) == (links.BRANDS, 16)
    for word in told:
        assert links.brand(word) == {"brand": word}
    # As the Checkout and the query spell two of them.
    assert links.brand("MASTER") == {"brand": "MASTERCARD"}
    assert links.brand("DINERS") == {"brand": "DINERS CLUB"}
    assert links.brand("A BRAND OF TOMORROW") == links.brand("visa") == links.brand(None) == {}


def test_json_with_the_content_type_of_a_form_is_still_json() -> None:
    assert not checkout.is_form(LINK, "application/x-www-form-urlencoded")


@pytest.mark.parametrize("lookup_first", [False, True])
def test_a_checkout_event_reaches_its_link_once_a_query_names_its_checkout(
    lookup_first: bool,
) -> None:
    cases = {case.file.stem: case for case in golden.cases("peach")}
    checkout_facts = Peach(PeachConfig()).read(cases["checkout"].raw())
    (told,) = checkout_facts.payments
    answer = Peach(PeachConfig()).read(cases["lookup-completed"].raw())
    (belongs,) = answer.payments
    belongs = {**belongs, "payment_id": told["payment_id"]}
    row: PaymentLink | None = None
    joined: list[LinkEvent] = []
    for fact in (belongs, told) if lookup_first else (told, belongs):
        outcome = join(row, fact)
        row, joined = outcome.row, [*joined, *outcome.events]
    (event,) = joined
    assert event["link_id"] == answer.events[0]["link_id"]
    # It is for the timeline: a Checkout never says that the link is paid.
    assert (event["status"], event["provider_status"]) == ("UNKNOWN", "checkout/successful")
    assert event["attributes"]["result.code"] == "000.100.110"
    assert checkout_facts.notices


def test_an_unproven_checkout_event_is_kept_but_waits_for_no_link() -> None:
    cases = {case.file.stem: case for case in golden.cases("peach")}
    facts = Peach(PeachConfig()).read(cases["checkout"].raw(verified=False))
    assert (len(facts.notices), facts.payments) == (1, ())
