"""The join by payment id: events that name only a payment wait until it is known whose link it
paid.
"""

from typing import NamedTuple

from schemas.records import LinkEvent, PaymentEvent, PaymentLink


class Joined(NamedTuple):
    """The outcome of one payment event. `row` is the very object given when nothing changed."""

    row: PaymentLink
    events: tuple[LinkEvent, ...] = ()


def join(row: PaymentLink | None, fact: PaymentEvent) -> Joined:
    """Passes events on once their link is known, whichever comes first; the first link named
    stays.
    """
    known: PaymentLink = row or {
        "provider": fact["provider"],
        "payment_id": fact["payment_id"],
        "link_id": None,
        "waiting": [],
    }
    link_id = known["link_id"] or fact["link_id"]
    arrived = [fact["event"]] if fact["event"] is not None else []
    if link_id is None:
        return _wait(row, known, arrived)
    due = tuple(_for_link(event, link_id) for event in (*known["waiting"], *arrived))
    if known["link_id"] is not None:
        return Joined(known, due)
    return Joined({**known, "link_id": link_id, "waiting": []}, due)


def _wait(row: PaymentLink | None, known: PaymentLink, arrived: list[LinkEvent]) -> Joined:
    waiting = {event["event_id"] for event in known["waiting"]}
    new = [event for event in arrived if event["event_id"] not in waiting]
    if not new:
        return Joined(row or known)
    return Joined({**known, "waiting": [*known["waiting"], *new]})


def _for_link(event: LinkEvent, link_id: str) -> LinkEvent:
    joined = event.copy()
    joined["link_id"] = link_id
    return joined
