"""The simulated iPint: crypto invoices, whose confirmations grow with time.

Callbacks exist for COMPLETED and FAILED only. They are unsigned and repeat until the answer is
exactly 200 with an empty body; the pauses are a guess. GET /invoice needs an HMAC-SHA384 signature
and a growing nonce.
"""

import hmac
from decimal import Decimal
from random import Random, SystemRandom
from typing import ClassVar
from urllib.parse import parse_qs
from uuid import uuid4

from connectors.providers import simulator as sim
from connectors.providers.base import ApiRequest, ApiResponse
from connectors.providers.simulator import SECOND, Doc, Lifecycle, json_response
from schemas.money import major_units, minor_units

# Step of an invoice -> its status, and the received share of the amount.
STEPS = {
    "PROCESSING": ("PROCESSING", "1"),
    "COMPLETED": ("COMPLETED", "1"),
    "UNDERPAID": ("COMPLETED", "0.9"),
    "OVERPAID": ("COMPLETED", "1.1"),
    "FAILED": ("FAILED", "0"),
    "CANCELLED": ("CANCELLED", "0"),
}
# PROCESSING means fewer than three confirmations, although the field counts to six.
CONFIRMED = 3
ALL_CONFIRMATIONS = 6
# Arbitrary rates: units of local currency per dollar, dollars per coin.
DOLLAR, COIN = Decimal(74), Decimal(600)
CONFIRMATION_SECONDS = 600
REQUIRED = ("client_email_id", "client_preferred_fiat_currency", "merchant_website")
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


class Sandbox(sim.Simulator):
    kind = "ipint"
    RETRY_SECONDS = (60.0, 120.0, 300.0, 900.0, *[3600.0] * 24)
    ACKNOWLEDGED = range(200, 201)
    LIFECYCLES: ClassVar = {
        "paid": Lifecycle(("PROCESSING", "COMPLETED"), ("PAID",), "PAID"),
        "underpaid": Lifecycle(("UNDERPAID",), ("PROCESSING",), "UNDERPAID", ("UNDERPAID",)),
        "overpaid": Lifecycle(("OVERPAID",), ("PAID",), "OVERPAID", ("OVERPAID",)),
        "failed": Lifecycle(("FAILED",), ("FAILED",)),
        "cancelled": Lifecycle(("CANCELLED",), ("CANCELLED",), has_callbacks=False),
        "left open": Lifecycle((), ("CREATED", "PROCESSING"), has_callbacks=False),
    }
    CURRENCY = "INR"
    STEPS = STEPS
    EXAMPLE_LINK = "voZ3pYmiE16FLaSfFmytouwFfcjR4Zom8"

    @classmethod
    def acknowledged(cls, status: int, body: bytes) -> bool:
        return status in cls.ACKNOWLEDGED and not body

    @staticmethod
    def generate_secrets() -> dict[str, str]:
        return {"api_key": uuid4().hex, "api_secret": uuid4().hex}

    @staticmethod
    def environment(site: sim.Site) -> dict[str, str]:
        return {
            "API_URL": site.api_url,
            "API_KEY": site.secrets["api_key"],
            "API_SECRET": site.secrets["api_secret"],
        }

    @staticmethod
    def new_id(random: Random) -> str:
        return "".join(random.choices(_ALPHABET, k=33))

    def set_example(self, status: str, now: int) -> None:
        step = status.upper() if status.upper() in STEPS else None
        invoice = self.state.get("link", self.EXAMPLE_LINK)
        if invoice is None:
            invoice = _new_invoice(self.EXAMPLE_LINK, Decimal("4999.65"), "INR", None, now)
            step = step or "COMPLETED"
        if step is not None:
            self._apply(invoice, step, now)

    def create(self, link: sim.NewLink, now: int) -> None:
        amount = major_units(link.amount_minor, link.currency)
        invoice = _new_invoice(link.link_id, amount, link.currency, None, now)
        self.state.put("link", link.link_id, invoice)

    def take_step(self, link: Doc, step: str, now: int) -> None:
        self._apply(link, step, now)
        if step == "PROCESSING":
            self.state.set_timer(link["id"], now + int(CONFIRMED * self._confirmation()))
        if link["status"] in ("COMPLETED", "FAILED"):
            event = {"invoice_id": link["id"], "status": link["status"]}
            self.state.enqueue(sim.json_callback(event, link["callback_url"]))

    def payment_of(self, link: Doc) -> sim.PaidPayment:
        amount = minor_units(link["amount"], link["currency"])
        return sim.PaidPayment(link["id"], None, amount, link["currency"])

    def on_timer(self, key: str, now: int) -> None:
        """Complete the invoice: its payment has enough confirmations."""
        invoice = self.state.get("link", key)
        if invoice is not None and invoice["status"] == "PROCESSING":
            self.take_step(invoice, "COMPLETED", now)

    def respond(self, request: ApiRequest, now: int) -> ApiResponse:
        call = sim.ParsedRequest.of(request)
        if call.parts == ("say",):
            return json_response(200, {"message": "hello"})
        if call.headers.get("apikey") != self.site.secrets["api_key"]:
            return _error(401, "unknown apikey")
        match (call.method, *call.parts):
            case ("POST", "checkout"):
                return self._checkout(call.body, now)
            case ("GET", "invoice"):
                if refused := self._check_signature(call, request.url):
                    return refused
                invoice = self.state.get("link", parse_qs(call.query).get("id", [""])[0])
                if not invoice:
                    return _error(404, "no such invoice")
                return json_response(200, _shown(invoice, now, self._confirmation()))
        return _error(404, "not found")

    def _check_signature(self, call: sim.ParsedRequest, url: str) -> ApiResponse | None:
        """Return 401 unless the request is signed and its nonce is higher than all before it."""
        nonce = call.headers.get("nonce", "")
        secret = self.site.secrets["api_secret"].encode()
        expected = hmac.new(secret, f"/api/{nonce}{url}".encode(), "sha384").hexdigest()
        if not hmac.compare_digest(expected.encode(), call.headers.get("signature", "").encode()):
            return _error(401, "bad signature")
        last = (self.state.get("nonce", "") or {"nonce": 0})["nonce"]
        if not nonce.isdecimal() or int(nonce) <= last:
            return _error(401, "the nonce does not grow")
        self.state.put("nonce", "", {"nonce": int(nonce)})
        return None

    def _checkout(self, body: Doc, now: int) -> ApiResponse:
        missing = [name for name in REQUIRED if not body.get(name)]
        if missing:
            return _error(400, f"{missing[0]} is required")
        invoice_id, currency = self.new_id(SystemRandom()), body["client_preferred_fiat_currency"]
        amount = Decimal(str(body.get("amount", "100.00")))
        invoice = _new_invoice(invoice_id, amount, currency, body.get("invoice_callback_url"), now)
        self.state.put("link", invoice_id, invoice)
        page = f"{self.site.api_url}/test-checkout?id={invoice_id}"
        return json_response(200, {"session_id": invoice_id, "payment_process_url": page})

    def _apply(self, invoice: Doc, step: str, now: int) -> None:
        invoice["status"], invoice["received"] = STEPS[step]
        if invoice["received"] != "0":
            invoice["seen_at"] = invoice["seen_at"] or now
        self.state.put("link", invoice["id"], invoice)

    def _confirmation(self) -> float:
        """Return the time of one confirmation, in microseconds."""
        return CONFIRMATION_SECONDS * SECOND / self.site.speed


def _error(status: int, message: str) -> ApiResponse:
    return json_response(status, {"error": True, "message": message})


def _new_invoice(
    invoice_id: str, amount: Decimal, currency: str, callback_url: str | None, now: int
) -> Doc:
    """Return a new invoice. `amount` is in major units."""
    return {
        "id": invoice_id,
        "status": "CHECKING",
        "amount": str(amount),
        "currency": currency,
        "received": "1",
        "callback_url": callback_url,
        "created_at": now,
        "seen_at": None,
    }


def _shown(invoice: Doc, now: int, confirmation: float) -> Doc:
    """Return the answer of GET /invoice. `confirmation` is the time of one, in microseconds.

    All values are strings. While the status is CHECKING, `received_*` equal the invoiced amounts.
    """
    seen_at, status = invoice["seen_at"], invoice["status"]
    confirmations = _confirmations(invoice, now, confirmation)
    local = Decimal(invoice["amount"])
    data = {
        "invoice_id": invoice["id"],
        "transaction_status": status,
        "blockchain_transaction_status": "CONFIRMED" if status == "COMPLETED" else "PENDING",
        "blockchain_confirmations": f"{confirmations}/{ALL_CONFIRMATIONS}",
        "local_currency_code": invoice["currency"],
        "transaction_crypto": "BCH",
        "transaction_hash": invoice["id"].encode().hex() if seen_at else "",
        "transaction_time": str(seen_at // SECOND) if seen_at else "",
        "invoice_creation_time": str(invoice["created_at"] // SECOND),
    }
    received = local * Decimal(invoice["received"])
    data |= _measures("invoice", local) | _measures("received", received)
    return {"data": data, "user_data": {"company_name": "merchant", "website": "#"}}


def _confirmations(invoice: Doc, now: int, confirmation: float) -> int:
    """Return the confirmations by now: fewer than three while PROCESSING, at least three after."""
    if not invoice["seen_at"]:
        return 0
    processing = invoice["status"] == "PROCESSING"
    low, high = (0, CONFIRMED - 1) if processing else (CONFIRMED, ALL_CONFIRMATIONS)
    return max(low, min(high, int((now - invoice["seen_at"]) / confirmation)))


def _measures(what: str, local: Decimal) -> dict[str, str]:
    dollars = local / DOLLAR
    return {
        f"{what}_amount_in_local_currency": f"{local:.2f}",
        f"{what}_amount_in_usd": f"{dollars:.2f}",
        f"{what}_crypto_amount": f"{dollars / COIN:.8f}",
    }
