"""The join by payment id: events that name only a payment wait until its link is known."""

from typing import NamedTuple

from schemas.records import LinkEvent, PaymentEvent, PaymentLink

# The most events of a payment that wait for its link: its row must fit into a record.
MOST_WAITING = 200


class JoinOutcome(NamedTuple):
    """`row` is the input row itself when nothing changed; `events` now have their link."""

    row: PaymentLink
    events: tuple[LinkEvent, ...] = ()


def join(row: PaymentLink | None, fact: PaymentEvent) -> JoinOutcome:
    """Return the payment's row after `fact`, and the events that can go to their link.

    Link and events may come in any order. The first link named stays.
    """
    known: PaymentLink = row or {
        "provider": fact["provider"],
        "payment_id": fact["payment_id"],
        "link_id": None,
        "waiting": [],
    }
    link_id = known["link_id"] or fact["link_id"]
    new = [fact["event"]] if fact["event"] is not None else []
    if link_id is None:
        return _wait(row, known, new)
    ready = tuple(_with_link(event, link_id) for event in (*known["waiting"], *new))
    if known["link_id"] is not None:
        return JoinOutcome(known, ready)
    return JoinOutcome({**known, "link_id": link_id, "waiting": []}, ready)


def _wait(row: PaymentLink | None, known: PaymentLink, events: list[LinkEvent]) -> JoinOutcome:
    """Of repeats the one that was received first waits, whichever is processed first."""
    waiting = {event["event_id"]: event for event in known["waiting"]}
    for event in events:
        kept = waiting.get(event["event_id"])
        if kept is None or event["received_at"] < kept["received_at"]:
            waiting[event["event_id"]] = event
    after = [*waiting.values()]
    if after == known["waiting"]:
        return JoinOutcome(row or known)
    if len(after) > MOST_WAITING:
        raise ValueError(f"{MOST_WAITING} events of this payment wait for its link already")
    return JoinOutcome({**known, "waiting": after})


def _with_link(event: LinkEvent, link_id: str) -> LinkEvent:
    joined = event.copy()
    joined["link_id"] = link_id
    return joined
