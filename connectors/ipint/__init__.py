"""iPint: invoices paid in crypto currency.

Vendor documents: "How to check payment status and details?" (support page), README of
    devbitfia/iPint.

Signature: none, and iPint's addresses change: a callback is only a trigger for GET /invoice.
Retries: "multiple times", schedule unknown; only 200 with an empty body counts as delivered.
Delivery guarantee: callbacks come for COMPLETED and FAILED only; CANCELLED is found by polling
    alone.
Quirks: the support page writes GET /invoices, the API has /invoice; `invoice_id` is the
    `session_id` of /checkout; all values are strings, "" where unknown; `received_*` equal
    `invoice_*` before anything was received, so they count only when COMPLETED; COMPLETED may be
    underpaid, or tell amounts that cannot be compared: comparing is our job. After COMPLETED,
    FAILED and CANCELLED iPint wants no more queries, so there are none, whatever a callback claims:
    a claim of another end than FAILED or CANCELLED is denied by what we know, and a person sees it.
    The signed text begins with a literal "/api/" that the URL does not have; the samples disagree
    on the nonce's unit, so it is microseconds, strictly growing.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, ClassVar

from pydantic import BeforeValidator, SecretStr, StringConstraints

from connectors import calling, reading
from connectors.provider import (
    Answer,
    ApiRequest,
    Facts,
    Inbound,
    Lookup,
    ProviderConfig,
    Raw,
    SettlementMode,
)
from schemas.money import BadAmount, minor_units
from schemas.records import Coverage, LinkEvent, LookupRequest, Status

STATUS: dict[str, Status] = {
    "CHECKING": "PROCESSING",
    "PROCESSING": "PROCESSING",
    "COMPLETED": "PAID",
    "FAILED": "FAILED",
    "CANCELLED": "CANCELLED",
}

# Why an invoice that is COMPLETED is not paid.
_NOT_PAID: Mapping[Coverage, str] = {
    "UNDERPAID": "COMPLETED, but less received than invoiced",
    "UNKNOWN": "COMPLETED, but an amount is not told",
}

# What is invoiced is compared with what was received in all three.
MEASURES = ("amount_in_local_currency", "amount_in_usd", "crypto_amount")

_AMOUNT = re.compile(r"[0-9]{1,30}(?:\.[0-9]{1,30})?(?:[eE][+-]?[0-9]{1,2})?")


def _text(value: object) -> str:
    """What is documented as text, "" where unknown; a number is taken, too."""
    return str(value).strip() if isinstance(value, str | int | Decimal) else ""


def _amount(value: object) -> str:
    """The digits of a decimal amount. What is none is not told: it must not hide the status."""
    text = _text(value)
    return f"{Decimal(text):f}" if _AMOUNT.fullmatch(text) else ""


Amount = Annotated[str, BeforeValidator(_amount)]
Text = Annotated[str, BeforeValidator(_text), StringConstraints(max_length=500)]


class IPintConfig(ProviderConfig):
    api_url: calling.Url = "https://api.ipint.io:8003"
    api_key: SecretStr | None = None
    api_secret: SecretStr | None = None


class Callback(reading.Payload):
    invoice_id: reading.Identifier
    status: reading.Identifier


class Invoice(reading.Payload):
    invoice_id: reading.Identifier
    transaction_status: reading.Identifier
    local_currency_code: Text = ""
    invoice_amount_in_local_currency: Amount = ""
    invoice_amount_in_usd: Amount = ""
    invoice_crypto_amount: Amount = ""
    received_amount_in_local_currency: Amount = ""
    received_amount_in_usd: Amount = ""
    received_crypto_amount: Amount = ""
    blockchain_transaction_status: Text = ""
    blockchain_confirmations: Text = ""
    transaction_crypto: Text = ""
    transaction_hash: Text = ""
    transaction_time: Text = ""


class Answered(reading.Payload):
    data: Invoice


class IPint:
    """Invoices of iPint; the link is the invoice."""

    name: ClassVar[str] = "ipint"
    Config: ClassVar[type[ProviderConfig]] = IPintConfig
    settlement: ClassVar[SettlementMode] = "elsewhere"
    polls: ClassVar[bool] = True
    ends_for_good: ClassVar[bool] = True
    # The nonce must grow from request to request as they arrive there.
    calls_at_once: ClassVar[int] = 1
    kept_headers: ClassVar[frozenset[str]] = frozenset()
    STATUS: ClassVar[Mapping[str, Status]] = STATUS

    def __init__(self, config: IPintConfig) -> None:
        self.config = config
        self._nonce = 0

    def key(self, body: bytes, content_type: str) -> str | None:
        return reading.first_identifier(body, "invoice_id")

    def authenticate(self, inbound: Inbound, jwks: bytes | None, now: int) -> bool:
        return False

    def read(self, raw: Raw) -> Facts:
        if raw.link_id is None:
            return Facts(events=(_claim(raw),))
        return reading.refusal(raw) or Facts(events=(_answer(raw),))

    def can_look_up(self) -> bool:
        return bool(self.config.api_key and self.config.api_secret)

    def lookup(self, request: LookupRequest, now: int) -> Lookup:
        path = f"/invoice?id={calling.path_part(request['link_id'])}"
        response = yield ApiRequest("GET", self.config.api_url + path, self._headers(path, now))
        calling.succeeded(response, "GET invoice")
        return Answer(response.status, response.body)

    def _headers(self, path: str, now: int) -> dict[str, str]:
        self._nonce = max(self._nonce + 1, now)
        key, secret = self.config.api_key, self.config.api_secret
        signed = hmac.new(
            secret.get_secret_value().encode() if secret else b"",
            f"/api/{self._nonce}{path}".encode(),
            hashlib.sha384,
        )
        return {
            "content-type": "application/json",
            "apikey": key.get_secret_value() if key else "",
            "nonce": str(self._nonce),
            "signature": signed.hexdigest(),
        }


def _claim(raw: Raw) -> LinkEvent:
    payload = reading.json_object(raw.body)
    callback = reading.checked(Callback, payload)
    extra = {name: payload[name] for name in payload if name not in Callback.model_fields}
    return raw.event(
        callback.invoice_id,
        reading.status(STATUS, callback.invoice_id, callback.status),
        callback.status,
        attributes=reading.texts(extra),
    )


def _answer(raw: Raw) -> LinkEvent:
    invoice = reading.load(Answered, raw.body).data
    link_id = reading.same_link(raw, invoice.invoice_id)
    word = invoice.transaction_status
    status, coverage, reason = reading.status(STATUS, link_id, word), None, None
    # COMPLETED is the provider's word for what was claimed, whatever we make of the amounts.
    denies = raw.denial(status)
    if status == "PAID":
        coverage = _coverage(invoice)
        if reason := _NOT_PAID.get(coverage):
            status = "PROCESSING"
    invoiced = _minor(invoice.invoice_amount_in_local_currency, invoice)
    known = coverage not in (None, "UNKNOWN")
    received = _minor(invoice.received_amount_in_local_currency, invoice) if known else None
    return raw.event(
        link_id,
        status,
        word,
        occurred_at=_seconds(invoice.transaction_time) if word == "COMPLETED" else None,
        amount_minor=invoiced,
        received_minor=received,
        currency=None if invoiced is None and received is None else invoice.local_currency_code,
        coverage=coverage,
        denies=denies,
        reason=reason,
        attributes=_attributes(invoice),
    )


def _coverage(invoice: Invoice) -> Coverage:
    """How the six amounts compare; UNKNOWN when one of them is not told."""
    told = [(getattr(invoice, f"invoice_{m}"), getattr(invoice, f"received_{m}")) for m in MEASURES]
    if not all(asked and received for asked, received in told):
        return "UNKNOWN"
    compared = [Decimal(received).compare(Decimal(asked)) for asked, received in told]
    if min(compared) < 0:
        return "UNDERPAID"
    return "OVERPAID" if max(compared) > 0 else "PAID"


def _minor(amount: str, invoice: Invoice) -> int | None:
    """Minor units; None where the currency has none or the amount is finer: we never round."""
    try:
        return minor_units(amount, invoice.local_currency_code)
    except BadAmount:
        return None


def _seconds(text: str) -> int | None:
    """Unix seconds as microseconds, where they are told."""
    return int(text) * 1_000_000 if text.isascii() and text.isdigit() and len(text) <= 10 else None


def _attributes(invoice: Invoice) -> dict[str, str]:
    kept = invoice.model_dump(exclude={"invoice_id", "transaction_status", "transaction_time"})
    if invoice.transaction_status != "COMPLETED":
        kept = {name: text for name, text in kept.items() if not name.startswith("received_")}
    return {name: text for name, text in kept.items() if text}
