"""Invoices of iPint, as its callbacks and GET /invoice report them."""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated

from pydantic import BeforeValidator, StringConstraints

from connectors.providers import facts, lookup_answer, payload
from connectors.providers.raw import Raw
from schemas.money import BadAmount, minor_units
from schemas.records import Coverage, LinkEvent

# Why a COMPLETED invoice is not paid.
NOT_PAID: Mapping[Coverage, str] = {
    "UNDERPAID": "COMPLETED, but less received than invoiced",
    "UNKNOWN": "COMPLETED, but an amount is missing",
}
# The invoiced and the received amount are compared in all three.
MEASURES = ("amount_in_local_currency", "amount_in_usd", "crypto_amount")

_AMOUNT = re.compile(r"[0-9]{1,30}(?:\.[0-9]{1,30})?(?:[eE][+-]?[0-9]{1,2})?")


def _text(value: object) -> str:
    """Return a documented text, "" if unknown. A number is accepted too."""
    return str(value).strip() if isinstance(value, str | int | Decimal) else ""


def _amount(value: object) -> str:
    """Return the digits of a decimal amount; "" for anything else: it must not hide the status."""
    text = _text(value)
    return f"{Decimal(text):f}" if _AMOUNT.fullmatch(text) else ""


Amount = Annotated[str, BeforeValidator(_amount)]
Text = Annotated[str, BeforeValidator(_text), StringConstraints(max_length=500)]


class Callback(payload.Payload):
    invoice_id: payload.Identifier
    status: payload.Identifier


class Invoice(payload.Payload):
    invoice_id: payload.Identifier
    transaction_status: payload.Identifier
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


class LookupAnswer(payload.Payload):
    data: Invoice


def callback_event(raw: Raw, statuses: payload.Statuses) -> LinkEvent:
    """Return the event in a callback. Raises Unreadable."""
    document = payload.json_object(raw.body)
    callback = payload.validate(Callback, document)
    extra = {name: document[name] for name in document if name not in Callback.model_fields}
    return facts.link_event(
        raw,
        callback.invoice_id,
        payload.map_status(statuses, callback.invoice_id, callback.status),
        callback.status,
        attributes=payload.attributes(extra),
    )


def answer_event(raw: Raw, statuses: payload.Statuses) -> LinkEvent:
    """Return the event in an answer of GET /invoice. Raises Unreadable."""
    answer = payload.parse(LookupAnswer, raw.body)
    invoice = answer.data
    link_id = lookup_answer.checked_link_id(raw, invoice.invoice_id)
    provider_status = invoice.transaction_status
    status = payload.map_status(statuses, link_id, provider_status)
    coverage = _coverage(invoice) if status == "PAID" else None
    not_paid = NOT_PAID.get(coverage) if coverage else None
    invoiced = _minor(invoice.invoice_amount_in_local_currency, invoice)
    comparable = coverage not in (None, "UNKNOWN")
    received = _minor(invoice.received_amount_in_local_currency, invoice) if comparable else None
    return facts.link_event(
        raw,
        link_id,
        "PROCESSING" if not_paid else status,
        provider_status,
        occurred_at=_seconds(invoice.transaction_time) if status == "PAID" else None,
        amount_minor=invoiced,
        received_minor=received,
        currency=None if invoiced is None and received is None else invoice.local_currency_code,
        coverage=coverage,
        # COMPLETED confirms or denies a claim, whatever the amounts say.
        denies=lookup_answer.denied_status(raw, status),
        reason=not_paid,
        attributes=answer.unread() | _attributes(invoice),
    )


def _coverage(invoice: Invoice) -> Coverage:
    """Return how the received amounts compare with the invoiced ones; UNKNOWN if one is missing."""
    amounts = [
        (getattr(invoice, f"invoice_{m}"), getattr(invoice, f"received_{m}")) for m in MEASURES
    ]
    if not all(invoiced and received for invoiced, received in amounts):
        return "UNKNOWN"
    compared = [Decimal(received).compare(Decimal(invoiced)) for invoiced, received in amounts]
    if min(compared) < 0:
        return "UNDERPAID"
    return "OVERPAID" if max(compared) > 0 else "PAID"


def _minor(amount: str, invoice: Invoice) -> int | None:
    """Return minor units; None, without rounding, if the currency has fewer decimals."""
    try:
        return minor_units(amount, invoice.local_currency_code)
    except BadAmount:
        return None


def _seconds(text: str) -> int | None:
    """Return Unix seconds as microseconds, or None if they are missing."""
    return int(text) * 1_000_000 if text.isascii() and text.isdigit() and len(text) <= 10 else None


def _attributes(invoice: Invoice) -> dict[str, str]:
    kept = invoice.model_dump(exclude={"invoice_id", "transaction_status", "transaction_time"})
    if invoice.transaction_status != "COMPLETED":
        kept = {name: text for name, text in kept.items() if not name.startswith("received_")}
    return {name: text for name, text in kept.items() if text}
