"""Peach: its signatures, its unsigned callbacks, and its Checkout events."""

import hmac
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from pydantic import ValidationError

from connectors.providers import examples
from connectors.providers.base import BadSignature, Inbound
from connectors.providers.peach import Peach, PeachConfig, checkout, link_sandbox, links, signature
from schemas.records import LinkEvent, PaymentEvent, PaymentLink
from streams.domain.join import join
from tests.connectors.providers import golden

URL = "https://shop.example/callbacks/peach"
LINK = examples.body("peach", "completed")
PROBE = b'{"verificationCode": "KX4-223"}'
FORM = examples.content_type("peach", "checkout")
CASES = {case.file.stem: case for case in golden.cases("peach")}


def peach(*secrets: str) -> Peach:
    return Peach(PeachConfig.model_validate({"webhook_secrets": secrets, "webhook_url": URL}))


def inbound(body: bytes, content_type: str = "application/json", **headers: str) -> Inbound:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Inbound("/callbacks/peach", {"content-type": content_type, **named}, body)


def signed(url: str) -> dict[str, str]:
    """Return the headers of the callback `LINK` to this URL, signed with the secret "one"."""
    digest = hmac.new(b"one", f"1700000000.w1.{url}.".encode() + LINK, "sha256").hexdigest()
    names = (*signature.HEADERS, "host")
    return dict(zip(names, ("1700000000", "w1", digest, urlsplit(url).netloc), strict=True))


@pytest.mark.parametrize("sign", [signature.of_form, link_sandbox.signature])
def test_documented_body_signature_is_reproduced(
    sign: Callable[[dict[str, str], str], str],
) -> None:
    # "Checkout authentication": the key, the parameters and the result in the document.
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
    expected = "311ed8e11e2da00d98c7479ca390a5396fe643e13629d850243dada877963afd"
    assert sign(form, "3fcd7cf22f55119eadbe02d14de18c0c") == expected


def test_secrets_need_the_signed_url() -> None:
    with pytest.raises(ValidationError, match="WEBHOOK_URL"):
        PeachConfig.model_validate({"webhook_secrets": ["one"]})


def test_d5_unsigned_batch_event_is_a_claim_beside_the_signed_one() -> None:
    case = CASES["batch-completed"]
    forged, signed = (
        case.instance().read(case.raw(verified=verified)).notices[0] for verified in (False, True)
    )
    assert (forged["verified"], signed["verified"]) == (False, True)
    assert forged["event_id"] != signed["event_id"]


@pytest.mark.parametrize(
    "callback",
    [
        inbound(LINK),
        inbound(examples.body("peach", "completed-as-printed")),
        inbound(b'{"status": "completed"}'),
        inbound(b'{"paymentId": "1", "batchId": "1", "status": "completed"}'),
        inbound(b"not json"),
        inbound(b"[]"),
        inbound(b""),
        inbound(examples.body("peach", "checkout"), FORM),
        # Even a probe is refused if its signature is wrong.
        inbound(PROBE, x_webhook_signature="00"),
        inbound(LINK, x_webhook_signature="\xe9\udcff"),
    ],
)
def test_any_other_callback_without_a_valid_signature_is_refused(callback: Inbound) -> None:
    with pytest.raises(BadSignature):
        peach("one").authenticate(callback, None, 0)


@pytest.mark.parametrize(
    ("url", "path", "verified"),
    [
        (URL, "/callbacks/peach", True),
        # A proxy can change the path.
        (URL, "/inside/peach", True),
        # A link's own `notificationUrl` replaces the configured one.
        (f"{URL}/order/7", "/callbacks/peach/order/7", True),
        (f"{URL}/order/7", "/callbacks/peach/order/8", False),
        ("https://another.example/callbacks/peach", "/callbacks/peach", False),
        ("http://shop.example/callbacks/peach", "/callbacks/peach", False),
        (f"{URL}?order=7", "/callbacks/peach", False),
        (f"{URL}?order=7", "/callbacks/peach?order=7", True),
        (f"{URL}?order=7", "/callbacks/peach?order=8", False),
        (f"{URL}/order/7?a=1", "/callbacks/peach/order/7?a=1", True),
        (URL, "/callbacks/peach?added=by-a-proxy", True),
        ("https://shop.example:443/callbacks/peach", "/callbacks/peach", True),
        ("https://shop.example:80/callbacks/peach", "/callbacks/peach", False),
        ("https://Shop.Example/callbacks/peach?order=7", "/callbacks/peach?order=7", True),
        ("https://Shop.Example:443/callbacks/peach", "/callbacks/peach", True),
    ],
)
def test_a2_signature_covers_the_called_or_the_configured_url(
    url: str, path: str, verified: bool
) -> None:
    path, _, query = path.partition("?")
    for configured in (URL, "https://SHOP.example:443/callbacks/peach"):
        inbound = Inbound(path, signed(url), LINK, query)
        assert signature.in_header(inbound, configured, ["one"]) is verified


def test_a2_configured_url_may_have_a_query_and_another_port() -> None:
    configured = "https://shop.example:8443/callbacks/peach?a=1"
    for query in ("", "a=1"):
        inbound = Inbound("/callbacks/peach", signed(configured), LINK, query)
        assert signature.in_header(inbound, configured, ["one"])


@pytest.mark.parametrize(
    ("outcome", "codes"),
    [
        ("successful", "000.000.000 000.100.110 000.300.000 000.600.000 000.400.110 000.400.120"),
        ("rejected", "000.400.100 800.100.152 999.999.999"),
        ("pending", "000.200.000"),
        ("cancelled", "100.396.101"),
        ("uncertain", "100.396.104"),
    ],
)
def test_result_code_has_its_documented_outcome(outcome: str, codes: str) -> None:
    assert {checkout.outcome(code) for code in codes.split()} == {outcome}


# "Payment Links webhooks", the table of webhook events.
DOCUMENTED_BRANDS = """VISA, MASTERCARD, DINERS CLUB, AMERICAN EXPRESS, MASTERPASS, MOBICRED, MPESA,
 1FORYOU, APLUS, PAYPAL, ZEROPAY, PAYFLEX, BLINKBYEMTEL, CAPITECPAY, MCBJUICE, PEACHEFT"""


def test_documented_brands_are_known_and_others_are_free_text() -> None:
    brands = tuple(brand.strip() for brand in DOCUMENTED_BRANDS.split(","))
    assert (brands, len(brands)) == (links.BRANDS, 16)
    for word in brands:
        assert links.brand(word) == {"brand": word}
    # The Checkout and the query spell two of them differently.
    assert links.brand("MASTER") == {"brand": "MASTERCARD"}
    assert links.brand("DINERS") == {"brand": "DINERS CLUB"}
    assert links.brand("A BRAND OF TOMORROW") == links.brand("visa") == links.brand(None) == {}


def test_json_with_the_content_type_of_a_form_is_json() -> None:
    assert not checkout.is_form(LINK, FORM)


@pytest.mark.parametrize("lookup_first", [False, True])
def test_checkout_event_joins_its_link_when_a_query_names_the_checkout(lookup_first: bool) -> None:
    checkout_facts = Peach(PeachConfig()).read(CASES["checkout"].raw())
    (event_fact,) = checkout_facts.payments
    answer = Peach(PeachConfig()).read(CASES["lookup-completed"].raw())
    link_fact: PaymentEvent = {**answer.payments[0], "payment_id": event_fact["payment_id"]}
    row: PaymentLink | None = None
    joined: list[LinkEvent] = []
    for fact in (link_fact, event_fact) if lookup_first else (event_fact, link_fact):
        outcome = join(row, fact)
        row, joined = outcome.row, [*joined, *outcome.events]
    (event,) = joined
    assert event["link_id"] == answer.events[0]["link_id"]
    # It is for the timeline: a Checkout event never says that the link is paid.
    assert (event["status"], event["provider_status"]) == ("UNKNOWN", "checkout/successful")
    assert event["attributes"]["result.code"] == "000.100.110"
    assert checkout_facts.notices


def test_unverified_checkout_event_becomes_a_notice_but_joins_no_link() -> None:
    facts = Peach(PeachConfig()).read(CASES["checkout"].raw(verified=False))
    assert (len(facts.notices), facts.payments) == (1, ())
