"""The simulated iPint behaves as its documents say."""

import hashlib
import hmac
from decimal import Decimal
from typing import Any

import pytest

from connectors.provider import ApiResponse
from connectors.sandbox.simulator import NewLink
from tests.connectors.sandboxes import NOW, SECOND, Simulated, said, shown

SEED = "voZ3pYmiE16FLaSfFmytouwFfcjR4Zom8"
MEASURES = ("amount_in_local_currency", "amount_in_usd", "crypto_amount")
TEN_MINUTES = 600 * SECOND


@pytest.fixture
def ipint() -> Simulated:
    return Simulated("ipint")


def get(
    ipint: Simulated, invoice_id: str, number: int = 1, now: int = NOW, **changed: str
) -> ApiResponse:
    path = f"/invoice?id={invoice_id}"
    secret = ipint.site.secrets["api_secret"].encode()
    headers = {
        "apikey": ipint.site.secrets["api_key"],
        "nonce": str(number),
        "signature": hmac.new(secret, f"/api/{number}{path}".encode(), hashlib.sha384).hexdigest(),
    }
    return ipint.call("GET", path, headers=headers | changed, now=now)


def invoice(ipint: Simulated, nonce: int = 1, now: int = NOW) -> Any:
    return shown(get(ipint, "invoice-1", nonce, now))["data"]


def lived(ipint: Simulated, *words: str) -> None:
    ipint.sandbox.create(NewLink("invoice-1", 499965, "INR"), NOW)
    for word in words:
        ipint.sandbox.move("invoice-1", word, NOW)


def compared(data: dict[str, str]) -> set[int]:
    """How what was received compares with what was invoiced, in all measures."""
    pairs = [(data[f"received_{m}"], data[f"invoice_{m}"]) for m in MEASURES]
    return {int(Decimal(received).compare(Decimal(asked))) for received, asked in pairs}


def test_the_invoice_of_the_seed_is_paid_in_full(ipint: Simulated) -> None:
    ipint.sandbox.seed("", NOW)
    data = shown(get(ipint, SEED))["data"]
    assert (data["transaction_status"], data["local_currency_code"]) == ("COMPLETED", "INR")
    assert compared(data) == {0}
    ipint.sandbox.seed("failed", NOW)
    ipint.sandbox.seed("", NOW)  # a restart changes nothing
    assert shown(get(ipint, SEED, 2))["data"]["transaction_status"] == "FAILED"


def test_the_request_must_be_signed_with_a_growing_nonce(ipint: Simulated) -> None:
    lived(ipint)
    assert get(ipint, "invoice-1", 5).status == 200
    assert get(ipint, "invoice-1", 5).status == 401
    assert get(ipint, "invoice-1", 4).status == 401
    assert get(ipint, "invoice-1", 6, signature="00").status == 401
    assert get(ipint, "invoice-1", 6, apikey="guessed").status == 401
    assert get(ipint, "invoice-1", 6, nonce="7").status == 401
    assert get(ipint, "invoice-1", 6).status == 200
    assert get(ipint, "invoice-2", 7).status == 404


def test_a_checkout_makes_an_invoice(ipint: Simulated) -> None:
    headers = {"apikey": ipint.site.secrets["api_key"]}
    asked = {
        "client_email_id": "user@email.id",
        "client_preferred_fiat_currency": "EUR",
        "merchant_website": "https://shop.test",
        "amount": "12.50",
        "invoice_callback_url": "http://elsewhere.test/hook",
    }
    session = shown(ipint.call("POST", "/checkout", asked, headers))["session_id"]
    data = shown(get(ipint, session))["data"]
    assert (data["invoice_amount_in_local_currency"], data["local_currency_code"]) == (
        "12.50",
        "EUR",
    )
    assert data["transaction_status"] == "CHECKING"
    ipint.sandbox.move(session, "FAILED", NOW)
    assert [callback.url for callback in ipint.owed()] == ["http://elsewhere.test/hook"]
    assert ipint.call("POST", "/checkout", {}, headers).status == 400
    assert ipint.call("POST", "/checkout", asked).status == 401


def test_amounts_received_mean_nothing_while_checking(ipint: Simulated) -> None:
    lived(ipint)
    data = invoice(ipint)
    assert (data["transaction_hash"], compared(data)) == ("", {0})


def test_confirmations_grow_until_the_payment_is_complete(ipint: Simulated) -> None:
    lived(ipint, "PROCESSING")
    grown = [
        invoice(ipint, nonce=1 + n, now=NOW + n * TEN_MINUTES)["blockchain_confirmations"]
        for n in range(3)
    ]
    assert grown == ["0/6", "1/6", "2/6"]
    assert ipint.owed() == []
    (alarm,) = ipint.store.rung(NOW + 3 * TEN_MINUTES)
    ipint.sandbox.woken(alarm.key, NOW + 3 * TEN_MINUTES)
    data = invoice(ipint, nonce=9, now=NOW + 3 * TEN_MINUTES)
    assert (data["transaction_status"], data["blockchain_confirmations"]) == ("COMPLETED", "3/6")
    assert said(ipint.owed()) == [{"invoice_id": "invoice-1", "status": "COMPLETED"}]
    late = invoice(ipint, nonce=10, now=NOW + 90 * TEN_MINUTES)
    assert late["blockchain_confirmations"] == "6/6"


def test_the_clock_can_be_sped_up() -> None:
    fast = Simulated("ipint", speed=60.0)
    lived(fast, "PROCESSING")
    assert fast.store.next_due(NOW) == NOW + 30 * SECOND


@pytest.mark.parametrize(("word", "sign"), [("UNDERPAID", -1), ("COMPLETED", 0), ("OVERPAID", 1)])
def test_completed_does_not_say_that_it_is_paid_in_full(
    ipint: Simulated, word: str, sign: int
) -> None:
    lived(ipint, word)
    data = invoice(ipint)
    assert (data["transaction_status"], compared(data)) == ("COMPLETED", {sign})
    assert said(ipint.owed()) == [{"invoice_id": "invoice-1", "status": "COMPLETED"}]


@pytest.mark.parametrize(("word", "callbacks"), [("FAILED", 1), ("CANCELLED", 0)])
def test_a_cancelled_invoice_has_no_callback(ipint: Simulated, word: str, callbacks: int) -> None:
    lived(ipint, word)
    assert invoice(ipint)["transaction_status"] == word
    assert len(ipint.owed()) == callbacks
