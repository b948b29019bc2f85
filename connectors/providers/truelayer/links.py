"""Payment links of TrueLayer, as its webhooks and GET payment link report them."""

from typing import Any

from connectors.providers import facts, lookup_answer, payload
from connectors.providers.base import Facts
from connectors.providers.raw import Raw
from connectors.providers.truelayer.payments import Payment, Payments
from schemas.records import LinkEvent, Status


class Event(payload.Payload):
    type: payload.Identifier
    event_id: payload.Identifier | None = None
    event_version: Any = None  # a number in the examples, a text in TrueLayer's tables


class PaymentCreated(Event):
    payment_link_id: payload.Identifier
    payment: Payment | None = None


class Disabled(Event):
    payment_link_id: payload.Identifier
    disabled_reason: Any = None  # "Any" in TrueLayer's table
    disabled_at: payload.Timestamp | None = None


class Link(payload.Payload):
    id: payload.Identifier | None = None
    status: payload.Identifier
    disabled_reason: payload.Identifier | None = None
    disabled_at: payload.Timestamp | None = None


class LookupAnswer(payload.Payload):
    payment_link: Link
    payments: Payments = ()


def provider_status(link: payload.Document) -> Any:
    """Return the status of a looked-up link, with the reason if it is disabled."""
    reason = payload.member(link, "disabled_reason")
    return f"disabled/{reason}" if reason else payload.member(link, "status")


def created_facts(raw: Raw, document: payload.Document, status: Status) -> Facts:
    """Return the facts in `payment_link_payment_created`. Raises Unreadable."""
    event = payload.validate(PaymentCreated, document)
    payment = event.payment
    payment_id = payment.payment_id if payment else None
    fact = facts.link_event(
        raw,
        event.payment_link_id,
        status,
        event.type,
        identity=(event.event_id, event.type, payment_id),
        occurred_at=payload.micros(payment.created_at) if payment else None,
        payment_id=payment_id,
        payment_status="INITIATED" if payment else None,
        attributes=event.unread() | payload.attributes({"event_version": event.event_version}),
    )
    if payment_id is None:
        return Facts((fact,))
    return Facts((fact,), (facts.link_of_payment(raw, payment_id, event.payment_link_id),))


def disabled_facts(raw: Raw, document: payload.Document, statuses: payload.Statuses) -> Facts:
    """Return the fact in `payment_link_disabled`. Raises Unreadable."""
    event = payload.validate(Disabled, document)
    name = f"disabled/{event.disabled_reason}"[:200]
    fact = facts.link_event(
        raw,
        event.payment_link_id,
        payload.map_status(statuses, event.payment_link_id, name),
        name,
        identity=(event.event_id, name),
        occurred_at=payload.micros(event.disabled_at),
        attributes=event.unread() | payload.attributes({"event_version": event.event_version}),
    )
    return Facts((fact,))


def answer_event(
    raw: Raw, answer: LookupAnswer, statuses: payload.Statuses, paid: LinkEvent | None
) -> LinkEvent:
    """Return the event of a looked-up link. `paid` is the event of the payment that paid it."""
    link = answer.payment_link
    link_id = lookup_answer.checked_link_id(raw, link.id)
    name = f"disabled/{link.disabled_reason}" if link.disabled_reason else link.status
    status = payload.map_status(statuses, link_id, name)
    unexplained = name == "disabled" and not paid
    if name == "disabled" and paid:
        status = "PAID"
    denies = lookup_answer.denied_status(raw, "PAID" if paid else status)
    if unexplained and denies == "EXPIRED":
        # An expired link is disabled and unpaid, too: the answer does not contradict the claim.
        denies = None
    return facts.link_event(
        raw,
        link_id,
        status,
        name,
        occurred_at=payload.micros(link.disabled_at),
        payment_id=paid["payment_id"] if paid and status == "PAID" else None,
        denies=denies,
        reason="disabled, and no payment explains why" if unexplained else None,
        attributes=answer.unread(),
    )
