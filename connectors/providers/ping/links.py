"""Ping's callbacks and lookup answers, and the facts in them."""

from typing import Any

from pydantic import AliasChoices, Field

from connectors.providers import facts, lookup_answer, payload
from connectors.providers.base import Facts
from connectors.providers.ping import refunds
from connectors.providers.raw import Raw
from schemas import ids
from schemas.records import LinkEvent, LookupRequest, Notice

# The fields without which a COMPLETED link is not paid yet.
PAID_NEEDS = ("payment_id", "payment_order_id")


class Callback(payload.Payload):
    payment_link_id: payload.Identifier
    status: payload.Identifier
    occured_at: payload.Timestamp | None = Field(
        default=None, validation_alias=AliasChoices("occured_at", "occurred_at")
    )


class Disbursement(payload.Payload):
    """The tenant's money was paid out. Ping sends it to `disbursement_callback_url`."""

    id: payload.Identifier
    disbursed_at: payload.Timestamp | None = None


class Link(payload.Payload):
    payment_link_id: payload.Identifier
    status: payload.Identifier
    payment_order_id: payload.Identifier | None = None
    payment_id: payload.Identifier | None = None
    # Minor units of the order's currency.
    total_amount: payload.MinorUnits | None = None


class Order(payload.Payload):
    currency: payload.CurrencyCode | None = None
    payments: Any = None


class LookupAnswer(payload.Payload):
    payment_link: Link
    payment_order: Order = Order()
    # Only if the order does not list its payments.
    payment: Any = None


def is_disbursement(document: payload.Document) -> bool:
    return "disbursed_at" in document and "payment_link_id" not in document


def disbursement_notice(raw: Raw, document: payload.Document) -> Notice:
    """Return the notice of a disbursement. Raises Unreadable."""
    disbursement = payload.validate(Disbursement, document)
    at = disbursement.disbursed_at
    attributes = {"disbursed_at": at.isoformat()} if at else disbursement.unread()
    return facts.notice(raw, "disbursement", disbursement.id, attributes=attributes)


def callback_event(raw: Raw, document: payload.Document, statuses: payload.Statuses) -> LinkEvent:
    """Return the event in a callback. Raises Unreadable."""
    callback = payload.validate(Callback, document)
    return facts.link_event(
        raw,
        callback.payment_link_id,
        payload.map_status(statuses, callback.payment_link_id, callback.status),
        callback.status,
        occurred_at=payload.micros(callback.occured_at),
        attributes=callback.unread(),
    )


def has_ended(document: Any, request: LookupRequest, statuses: payload.Statuses) -> bool:
    """Return whether the answer reports the end of the link, with all that the end needs."""
    link_id, status, *needed = (
        payload.member(document, name) for name in ("payment_link_id", "status", *PAID_NEEDS)
    )
    is_whole = statuses.get(str(status)) != "PAID" or all(map(ids.is_identifier, needed))
    return is_whole and lookup_answer.has_ended(statuses, request, link_id, status)


def answer_facts(raw: Raw, statuses: payload.Statuses) -> Facts:
    """Return the facts in the answer to a lookup: the link, and refunds. Raises Unreadable."""
    answer = payload.parse(LookupAnswer, raw.body)
    link, order = answer.payment_link, answer.payment_order
    link_id = lookup_answer.checked_link_id(raw, link.payment_link_id)
    event = _answer_event(raw, link_id, answer, statuses)
    payments = answer.payment if answer.payment is not None else order.payments
    refunded = refunds.refund_facts(raw, link_id, link.payment_id, order.currency, payments)
    return refunded if raw.item else refunded._replace(events=(event, *refunded.events))


def _answer_event(
    raw: Raw, link_id: str, answer: LookupAnswer, statuses: payload.Statuses
) -> LinkEvent:
    link = answer.payment_link
    status, reason = payload.map_status(statuses, link_id, link.status), None
    # COMPLETED confirms or denies a claim even while we wait for the payment or the order.
    denies = lookup_answer.denied_status(raw, status)
    missing = [name for name in PAID_NEEDS if not getattr(link, name)]
    if status == "PAID" and missing:
        status, reason = "PROCESSING", f"COMPLETED without {missing[0]}"
    return facts.link_event(
        raw,
        link_id,
        status,
        link.status,
        payment_id=link.payment_id,
        payment_status="PAID" if status == "PAID" else None,
        order_id=link.payment_order_id,
        amount_minor=link.total_amount,
        currency=answer.payment_order.currency,
        denies=denies,
        reason=reason,
        attributes=answer.unread(),
    )
