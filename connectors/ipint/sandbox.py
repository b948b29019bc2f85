"""iPint, simulated: crypto invoices, whose confirmations grow with time.

A callback is sent for COMPLETED and FAILED only, unsigned, and repeated until exactly 200 comes
back with an empty body; the waits are a guess. GET /invoice asks for an HMAC-SHA384 signature and a
nonce that grows.
"""

import hmac
from decimal import Decimal
from random import Random, SystemRandom
from typing import ClassVar
from urllib.parse import parse_qs
from uuid import uuid4

from connectors.ipint import invoice_sandbox as invoices
from connectors.provider import ApiRequest, ApiResponse
from connectors.sandbox import simulator as sim
from connectors.sandbox.simulator import SECOND, Doc, Life, answered
from schemas.money import major_units

# What may happen to an invoice -> its status, and the share of the amount received.
STEPS = {
    "PROCESSING": ("PROCESSING", "1"),
    "COMPLETED": ("COMPLETED", "1"),
    "UNDERPAID": ("COMPLETED", "0.9"),
    "OVERPAID": ("COMPLETED", "1.1"),
    "FAILED": ("FAILED", "0"),
    "CANCELLED": ("CANCELLED", "0"),
}
CONFIRMATION_SECONDS = 600
SEED_LINK = "voZ3pYmiE16FLaSfFmytouwFfcjR4Zom8"
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


class Sandbox(sim.Simulator):
    name = "ipint"
    RETRY_SECONDS = (60.0, 120.0, 300.0, 900.0, *[3600.0] * 24)
    ACKNOWLEDGED = range(200, 201)
    LIVES: ClassVar = {
        "paid": Life(("PROCESSING", "COMPLETED"), ("PAID",), "PAID"),
        "underpaid": Life(("UNDERPAID",), ("PROCESSING",), "UNDERPAID", ("UNDERPAID",)),
        "overpaid": Life(("OVERPAID",), ("PAID",), "OVERPAID", ("OVERPAID",)),
        "failed": Life(("FAILED",), ("FAILED",)),
        "cancelled": Life(("CANCELLED",), ("CANCELLED",), heard=False),
        "left open": Life((), ("CREATED", "PROCESSING"), heard=False),
    }
    CURRENCY = "INR"

    @classmethod
    def acknowledged(cls, status: int, body: bytes) -> bool:
        return status in cls.ACKNOWLEDGED and not body

    @staticmethod
    def generate_secrets() -> dict[str, str]:
        return {"api_key": uuid4().hex, "api_secret": uuid4().hex}

    @staticmethod
    def environment(site: sim.Site) -> dict[str, str]:
        return {
            "API_URL": f"{site.base_url}/ipint",
            "API_KEY": site.secrets["api_key"],
            "API_SECRET": site.secrets["api_secret"],
        }

    @staticmethod
    def new_id(chance: Random) -> str:
        return "".join(chance.choices(_ALPHABET, k=33))

    def seed(self, word: str, now: int) -> None:
        invoice = self.state.get("link", SEED_LINK)
        if invoice is None:
            invoice = invoices.new(SEED_LINK, Decimal("4999.65"), "INR", None, now)
            word = word if word.upper() in STEPS else "COMPLETED"
        if word.upper() in STEPS:
            self._become(invoice, word.upper(), now)

    def create(self, link: sim.NewLink, now: int) -> None:
        amount = major_units(link.amount_minor, link.currency)
        invoice = invoices.new(link.link_id, amount, link.currency, None, now)
        self.state.put("link", link.link_id, invoice)

    def move(self, link_id: str, word: str, now: int) -> None:
        invoice = self.state.get("link", link_id)
        if invoice is None or word not in STEPS:
            raise KeyError(f"{link_id} {word}")
        self._become(invoice, word, now)
        if word == "PROCESSING":
            self.state.wake(link_id, now + int(invoices.CONFIRMED * self._confirmation()))
        status = invoice["status"]
        if status in ("COMPLETED", "FAILED"):
            said = sim.said({"invoice_id": link_id, "status": status}, invoice["callback_url"])
            self.state.owe(said)

    def woken(self, key: str, now: int) -> None:
        """The payment has confirmations enough."""
        invoice = self.state.get("link", key)
        if invoice is not None and invoice["status"] == "PROCESSING":
            self.move(key, "COMPLETED", now)

    def answer(self, request: ApiRequest, now: int) -> ApiResponse:
        call = sim.Called.of(request)
        if call.parts == ("say",):
            return answered(200, {"message": "hello"})
        if call.headers.get("apikey") != self.site.secrets["api_key"]:
            return _error(401, "unknown apikey")
        match (call.method, *call.parts):
            case ("POST", "checkout"):
                return self._checkout(call.body, now)
            case ("GET", "invoice"):
                refused = self._refused(call, request.url)
                invoice = self.state.get("link", parse_qs(call.query).get("id", [""])[0])
                if refused or not invoice:
                    return refused or _error(404, "no such invoice")
                return answered(200, invoices.shown(invoice, now, self._confirmation()))
        return _error(404, "not found")

    def _refused(self, call: sim.Called, url: str) -> ApiResponse | None:
        """401 unless signed, with a nonce above all before it."""
        nonce = call.headers.get("nonce", "")
        secret = self.site.secrets["api_secret"].encode()
        expected = hmac.new(secret, f"/api/{nonce}{url}".encode(), "sha384").hexdigest()
        if not hmac.compare_digest(expected.encode(), call.headers.get("signature", "").encode()):
            return _error(401, "bad signature")
        last = (self.state.get("nonce", "") or {"nonce": 0})["nonce"]
        if not nonce.isdecimal() or int(nonce) <= last:
            return _error(401, "nonce does not grow")
        self.state.put("nonce", "", {"nonce": int(nonce)})
        return None

    def _checkout(self, body: Doc, now: int) -> ApiResponse:
        required = ("client_email_id", "client_preferred_fiat_currency", "merchant_website")
        missing = [name for name in required if not body.get(name)]
        if missing:
            return _error(400, f"{missing[0]} is required")
        invoice_id, currency = self.new_id(SystemRandom()), body["client_preferred_fiat_currency"]
        amount = Decimal(str(body.get("amount", "100.00")))
        invoice = invoices.new(invoice_id, amount, currency, body.get("invoice_callback_url"), now)
        self.state.put("link", invoice_id, invoice)
        page = f"{self.site.base_url}/ipint/test-checkout?id={invoice_id}"
        return answered(200, {"session_id": invoice_id, "payment_process_url": page})

    def _become(self, invoice: Doc, word: str, now: int) -> None:
        invoice["status"], invoice["received"] = STEPS[word]
        if invoice["received"] != "0":
            invoice["seen_at"] = invoice["seen_at"] or now
        self.state.put("link", invoice["id"], invoice)

    def _confirmation(self) -> float:
        """How long a confirmation takes, in microseconds."""
        return CONFIRMATION_SECONDS * SECOND / self.site.speed


def _error(status: int, message: str) -> ApiResponse:
    return answered(status, {"error": True, "message": message})
