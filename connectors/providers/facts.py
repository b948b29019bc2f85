"""Builders of the facts that a provider reads from a raw record.

The id of a fact comes from what the fact states, not from when or how often the record arrived:
a repeated callback gives the same ids.
"""

from collections.abc import Callable
from itertools import chain
from typing import Any, TypedDict, Unpack, cast

from connectors.providers.base import Facts, Refusal, Unreadable
from connectors.providers.raw import Raw
from schemas.ids import event_id, is_identifier
from schemas.records import (
    Coverage,
    LinkEvent,
    LookupReason,
    LookupRequest,
    Notice,
    PaymentEvent,
    PaymentStatus,
    Registration,
    Status,
)
from schemas.refund_records import RefundFact

# The kind of a notice of what the provider's API answers about a notice's subject ends so.
LOOKED_UP = "_lookup"
# The kind of a notice of a proven callback of a type that no rule knows.
UNKNOWN_EVENT = "unknown_event"


def of_items(raw: Raw, place: str, items: Any, read: Callable[[Any], Facts]) -> Facts:
    """Return the facts in all items of a list, or in the one that `raw.item` names. An item that
    `read` refuses is refused alone.

    `place` is the name of the list. Raises Unreadable if it is not a list, or has no such item.
    """
    if not isinstance(items, list | tuple):
        raise Unreadable(f"{place}: not a list")
    parts = [
        _of_item(name, item, read)
        for name, item in ((f"{place}.{number}", item) for number, item in enumerate(items))
        if raw.item in (None, name)
    ]
    if raw.item is not None and raw.item.startswith(f"{place}.") and not parts:
        raise Unreadable(f"there is no {raw.item}")
    lists: Any = zip(*parts, strict=True)
    return Facts(*(tuple(chain.from_iterable(lists_)) for lists_ in lists))


def _of_item(name: str, item: Any, read: Callable[[Any], Facts]) -> Facts:
    try:
        return read(item)
    except Unreadable as error:
        error.item = name
        return Facts(refused=(Refusal(name, error),))


class Details(TypedDict, total=False):
    """What an event states besides the status of its link. An absent name stands for None."""

    # Microseconds, UTC.
    occurred_at: int | None
    payment_id: str | None
    payment_status: PaymentStatus | None
    order_id: str | None
    # Minor units of `currency`, as `received_minor`.
    amount_minor: int | None
    currency: str | None
    received_minor: int | None
    coverage: Coverage | None
    # The claimed status that this answer denies.
    denies: Status | None
    reason: str | None
    registration: Registration | None
    # Money that goes back after the payment.
    refund: RefundFact | None
    attributes: dict[str, str]


def link_event(
    raw: Raw,
    link_id: str,
    status: Status,
    provider_status: str,
    identity: tuple[str | int | None, ...] = (),
    **details: Unpack[Details],
) -> LinkEvent:
    """Return an event of a link.

    `identity`, such as the provider's own event id, replaces the stated values in the event id.
    `link_id` is empty if only the join with a payment knows the link.
    """
    unstated = dict.fromkeys(Details.__annotations__) | {"attributes": {}}
    known = {
        "provider": raw.provider,
        "link_id": link_id,
        "status": status,
        "provider_status": provider_status,
        "received_at": raw.received_at,
        "source": raw.source,
        "verified": raw.verified,
        "closed_elsewhere": raw.closed_elsewhere and status == "PAID",
        "origin": raw.origin,
    }
    event = cast("LinkEvent", unstated | details | known)
    event["event_id"] = _link_event_id(event, identity)
    return event


def _link_event_id(event: LinkEvent, identity: tuple[str | int | None, ...]) -> str:
    link = (event["provider"], event["link_id"], event["status"])
    stated = identity or (
        event["provider_status"],
        event["occurred_at"],
        event["payment_id"],
        event["order_id"],
        event["amount_minor"],
        event["received_minor"],
    )
    return event_id("link-event", *link, int(event["verified"]), event["denies"], *stated)


def event_of_payment(event: LinkEvent, payment_id: str) -> PaymentEvent:
    """Return the fact that `event` is about a payment. The join adds the payment's link."""
    provider = event["provider"]
    return {"provider": provider, "payment_id": payment_id, "link_id": None, "event": event}


def link_of_payment(raw: Raw, payment_id: str, link_id: str) -> PaymentEvent:
    """Return the fact that a payment belongs to a link, for the join."""
    return {"provider": raw.provider, "payment_id": payment_id, "link_id": link_id, "event": None}


def notice(
    raw: Raw,
    kind: str,
    subject_id: str | None = None,
    status: str = "",
    attributes: dict[str, str] | None = None,
) -> Notice:
    """Return a notice: a callback that we recognize and keep, but that is not about a link.

    A forged one has another id than the true one, so that it cannot take its place.
    """
    attributes = attributes or {}
    stated = (f"{name}={text}" for name, text in sorted(attributes.items()))
    subject = (raw.provider, kind, subject_id, status, int(raw.verified))
    return {
        "event_id": event_id("notice", *subject, *stated),
        "provider": raw.provider,
        "kind": kind,
        "subject_id": subject_id,
        "status": status,
        "verified": raw.verified,
        "attributes": attributes,
        "received_at": raw.received_at,
        "origin": raw.origin,
    }


def unknown_event(raw: Raw, event_type: str, subject_id: Any, attributes: dict[str, str]) -> Notice:
    """Return the notice of a callback of a type that no rule knows, and that names no link. Raises
    Unreadable if it is not proven: anyone can invent a type.
    """
    if not raw.verified:
        raise Unreadable(f"{event_type!r} is not a known event")
    subject = subject_id if is_identifier(subject_id) else None
    return notice(raw, UNKNOWN_EVENT, subject, event_type[:200], attributes)


def lookup_request(raw: Raw, subject_id: str) -> LookupRequest:
    """Return a lookup of what a callback names and what is not a link.

    If the callback is proven it is answered like that of a link that we issued. Otherwise it is
    limited like that of one that we never issued: anyone can send such a callback.
    """
    reason: LookupReason = "DETAILS" if raw.verified else "CLAIM"
    return {
        "request_id": event_id("lookup", raw.provider, subject_id, reason, raw.received_at),
        "provider": raw.provider,
        "link_id": subject_id,
        "reason": reason,
        "claimed_status": None,
        "payment_id": None,
        "refund": None,
        "issued": raw.verified,
        "requested_at": raw.received_at,
    }
