"""Refunds, payouts, reversals and disputes of TrueLayer's payments, as its webhooks report them.

Vendor documents: "Refund webhooks", "Payout webhooks", "Payout and refund statuses", "Payout and
refund returns", "Payment_disputed webhook". A webhook has no amount: `refund_answers` reads it from
the API. A refund names its payment. A payout names only the account that it goes to, so it belongs
to a payment only if the merchant wrote `payment_id` into the payout's metadata.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import AliasChoices, Field

from connectors.providers import facts, payload
from connectors.providers.base import Facts, Unreadable
from connectors.providers.raw import Raw
from schemas import ids
from schemas.refund_records import RefundFact, RefundKind, RefundState

# Event type -> what it is, and how far.
EVENTS: Mapping[str, tuple[RefundKind, RefundState]] = {
    "refund_executed": ("REFUND", "EXECUTED"),
    "refund_failed": ("REFUND", "FAILED"),
    "payout_executed": ("PAYOUT", "EXECUTED"),
    "payout_failed": ("PAYOUT", "FAILED"),
    "payment_disputed": ("DISPUTE", "PENDING"),
    "payment_reversed": ("REVERSAL", "EXECUTED"),
}
# The failure reason of a refund that the payer's bank sent back.
RETURNED = "returned"
_SUBJECTS = {"REFUND": "refund_id", "PAYOUT": "payout_id"}


class Event(payload.Payload):
    type: payload.Identifier
    event_id: payload.Identifier | None = None
    event_version: Any = None
    refund_id: payload.Identifier | None = None
    payout_id: payload.Identifier | None = None
    payment_id: payload.Identifier | None = None
    executed_at: payload.Timestamp | None = None
    failed_at: payload.Timestamp | None = None
    disputed_at: payload.Timestamp | None = None
    reversed_at: payload.Timestamp | None = None
    # Until then the merchant can answer a dispute; without an answer it is lost.
    expires_at: str | None = None
    failure_reason: str | None = None
    # TrueLayer's pages spell it in two ways.
    disputed_reason: str | None = Field(
        default=None, validation_alias=AliasChoices("disputed_reason", "dispute_reason")
    )
    reversal_reason: str | None = None
    scheme_id: str | None = None
    metadata: dict[str, Any] | None = None


def event_facts(raw: Raw, document: payload.Document) -> Facts | None:
    """Return the fact in a webhook of EVENTS, to be joined by payment; None for a payout that names
    no payment. Raises Unreadable.
    """
    event = payload.validate(Event, document)
    kind, state = EVENTS[event.type]
    payment_id = event.payment_id
    if kind == "PAYOUT" and payment_id is None:
        named = payload.member(event.metadata, "payment_id")
        if not ids.is_identifier(named):
            return None
        payment_id = named
    subject = _SUBJECTS.get(kind, "payment_id")
    refund_id = getattr(event, subject)
    for name, value in {subject: refund_id, "payment_id": payment_id}.items():
        if value is None:
            raise Unreadable(f"{name}: missing or not an identifier")
    if state == "FAILED" and event.failure_reason == RETURNED:
        state = "RETURNED"
    fact = facts.link_event(
        raw,
        "",
        "UNKNOWN",
        event.type,
        identity=(event.event_id, event.type, refund_id),
        occurred_at=payload.micros(getattr(event, f"{event.type.rpartition('_')[2]}_at")),
        payment_id=payment_id,
        reason=event.failure_reason or event.disputed_reason or event.reversal_reason,
        refund=refund_fact(refund_id, kind, state, payment_id),
        attributes=_attributes(event),
    )
    return Facts(payments=(facts.event_of_payment(fact, payment_id or ""),))


def refund_fact(
    refund_id: str, kind: RefundKind, state: RefundState, payment_id: str | None
) -> RefundFact:
    """Return the fact that a refund is in a state, without its amount."""
    return {
        "refund_id": refund_id,
        "kind": kind,
        "state": state,
        "payment_id": payment_id,
        "amount_minor": None,
        "currency": None,
    }


def _attributes(event: Event) -> dict[str, str]:
    values = event.model_dump(include={"event_version", "scheme_id", "expires_at"})
    metadata = payload.attributes(event.metadata or {}, "metadata.")
    return event.unread() | payload.attributes(values) | metadata
