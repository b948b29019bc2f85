"""Payments of TrueLayer, as its webhooks and as GET payments of a link tell them."""

from typing import Annotated, Any

from pydantic import AliasChoices, BeforeValidator, Field

from connectors import reading
from connectors.provider import Raw
from schemas.records import LinkEvent, PaymentEvent, PaymentStatus, Status

PAYMENT_STATUS: dict[str, PaymentStatus] = {
    "payment_authorization_required": "INITIATED",
    "payment_authorizing": "INITIATED",
    "payment_attempt_failed": "INITIATED",
    "payment_authorized": "INITIATED",
    "payment_executed": "EXECUTED",
    # An alarm of an executed payment: its money is late.
    "payment_settlement_stalled": "EXECUTED",
    "payment_settled": "SETTLED",
    "payment_creditable": "PAID",
    "payment_failed": "FAILED",
}


class Risk(reading.Payload):
    category: str | None = None


class Method(reading.Payload):
    type: str | None = None
    provider_id: str | None = None
    scheme_id: str | None = None


class Payment(reading.Payload):
    payment_id: reading.Identifier = Field(validation_alias=AliasChoices("payment_id", "id"))
    # Only GET tells the status and the amount.
    status: reading.Identifier | None = None
    amount_in_minor: int | None = Field(default=None, ge=0, lt=10**15, strict=True)
    currency: reading.CurrencyCode | None = None
    created_at: reading.Moment | None = None
    authorized_at: reading.Moment | None = None
    executed_at: reading.Moment | None = None
    settlement_stalled_at: reading.Moment | None = None
    settled_at: reading.Moment | None = None
    creditable_at: reading.Moment | None = None
    failed_at: reading.Moment | None = None
    # Only events have one.
    event_version: Any = None
    failure_stage: str | None = None
    failure_reason: str | None = None
    settlement_risk: Risk | None = None
    payment_method: Method | None = None
    metadata: dict[str, Any] | None = None


def _items(value: object) -> object:
    """The body of GET payments is undocumented: a list, or an object with `items`."""
    return value.get("items", []) if isinstance(value, dict) else value


Payments = Annotated[tuple[Payment, ...], BeforeValidator(_items)]


def word(payment: Payment) -> str:
    """The webhook's word for the state that GET tells: `settled` is `payment_settled`."""
    if payment.status == "executed" and payment.creditable_at:
        return "payment_creditable"
    return f"payment_{payment.status}"


def event(
    raw: Raw, link_id: str, word: str, status: Status, payment: Payment, event_id: str | None = None
) -> LinkEvent:
    """What a payment's state says of its link; `link_id` is empty where only the join can tell."""
    occurred_at = getattr(payment, f"{word.removeprefix('payment_')}_at", None)
    # Executed is the end only on an external account: then the caller's table says PAID.
    executed_is_paid = word == "payment_executed" and status == "PAID"
    return raw.event(
        link_id,
        status,
        word,
        occurred_at=reading.micros(occurred_at),
        payment_id=payment.payment_id,
        payment_status="PAID" if executed_is_paid else PAYMENT_STATUS[word],
        amount_minor=payment.amount_in_minor,
        currency=payment.currency,
        reason=payment.failure_reason,
        attributes=_attributes(payment),
        identity=(event_id, word, payment.payment_id) if event_id else (),
    )


def belongs(raw: Raw, payment_id: str, link_id: str) -> PaymentEvent:
    """The fact that a payment belongs to a link, for the join."""
    return {"provider": raw.provider, "payment_id": payment_id, "link_id": link_id, "event": None}


def unjoined(event: LinkEvent, payment_id: str) -> PaymentEvent:
    """An event that names only its payment."""
    return {
        "provider": event["provider"],
        "payment_id": payment_id,
        "link_id": None,
        "event": event,
    }


def _attributes(payment: Payment) -> dict[str, str]:
    method = payment.payment_method or Method()
    told = {
        "event_version": payment.event_version,
        "failure_stage": payment.failure_stage,
        "settlement_risk": payment.settlement_risk and payment.settlement_risk.category,
        "scheme_id": method.scheme_id,
        "provider_id": method.provider_id,
    }
    return reading.texts(told) | reading.texts(payment.metadata or {}, "metadata.")
