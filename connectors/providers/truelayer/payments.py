"""Payments of TrueLayer, as its webhooks and GET payments of a link report them."""

from typing import Annotated, Any

from pydantic import AliasChoices, BeforeValidator, Field

from connectors.providers import facts, payload
from connectors.providers.raw import Raw
from schemas.records import LinkEvent, PaymentStatus, Status

PAYMENT_STATUS: dict[str, PaymentStatus] = {
    "payment_authorization_required": "INITIATED",
    "payment_authorizing": "INITIATED",
    "payment_attempt_failed": "INITIATED",
    "payment_authorized": "INITIATED",
    "payment_executed": "EXECUTED",
    # A warning about an executed payment: its money is late.
    "payment_settlement_stalled": "EXECUTED",
    "payment_settled": "SETTLED",
    "payment_creditable": "PAID",
    "payment_failed": "FAILED",
}


class Risk(payload.Payload):
    category: str | None = None


class Method(payload.Payload):
    type: str | None = None
    provider_id: str | None = None
    scheme_id: str | None = None


class Payment(payload.Payload):
    payment_id: payload.Identifier = Field(validation_alias=AliasChoices("payment_id", "id"))
    # Only GET has the status and the amount.
    status: payload.Identifier | None = None
    amount_in_minor: payload.MinorUnits | None = None
    currency: payload.CurrencyCode | None = None
    created_at: payload.Timestamp | None = None
    authorized_at: payload.Timestamp | None = None
    executed_at: payload.Timestamp | None = None
    settlement_stalled_at: payload.Timestamp | None = None
    settled_at: payload.Timestamp | None = None
    creditable_at: payload.Timestamp | None = None
    failed_at: payload.Timestamp | None = None
    # Only events have a version.
    event_version: Any = None
    failure_stage: str | None = None
    failure_reason: str | None = None
    settlement_risk: Risk | None = None
    payment_method: Method | None = None
    metadata: dict[str, Any] | None = None


def _items(value: object) -> object:
    """Return the payments. The body is not documented: a list, or an object with `items`."""
    return value.get("items") or () if isinstance(value, dict) else value


# Each is read alone: a payment that cannot be read hides neither its link nor the others.
Payments = Annotated[tuple[Any, ...], BeforeValidator(_items)]


def provider_status(status: Any, creditable_at: Any) -> str:
    """Return the name of the status in webhooks: `settled` in GET is `payment_settled`."""
    is_creditable = status == "executed" and creditable_at
    return "payment_creditable" if is_creditable else f"payment_{status}"


def provider_statuses(document: Any) -> list[str]:
    """Return the status of each payment in the answer of GET payments."""
    items = _items(document)
    return [
        provider_status(payload.member(item, "status"), payload.member(item, "creditable_at"))
        for item in (items if isinstance(items, list) else ())
    ]


def event(
    raw: Raw,
    link_id: str,
    status: Status,
    name: str,
    payment: Payment,
    event_id: str | None = None,
) -> LinkEvent:
    """Return what a payment states about its link. The link id is empty if only the join knows it.

    `name` is the provider's status, `event_id` is TrueLayer's own, in webhooks.
    """
    occurred_at = getattr(payment, f"{name.removeprefix('payment_')}_at", None)
    # The status is PAID for executed only on an external account, where executed is the end.
    executed_is_paid = name == "payment_executed" and status == "PAID"
    return facts.link_event(
        raw,
        link_id,
        status,
        name,
        identity=(event_id, name, payment.payment_id) if event_id else (),
        occurred_at=payload.micros(occurred_at),
        payment_id=payment.payment_id,
        payment_status="PAID" if executed_is_paid else PAYMENT_STATUS[name],
        amount_minor=payment.amount_in_minor,
        currency=payment.currency,
        reason=payment.failure_reason,
        attributes=_attributes(payment),
    )


def _attributes(payment: Payment) -> dict[str, str]:
    method = payment.payment_method or Method()
    values = {
        "event_version": payment.event_version,
        "failure_stage": payment.failure_stage,
        "settlement_risk": payment.settlement_risk and payment.settlement_risk.category,
        "scheme_id": method.scheme_id,
        "provider_id": method.provider_id,
    }
    metadata = payload.attributes(payment.metadata or {}, "metadata.")
    return payment.unread() | payload.attributes(values) | metadata
