"""One link's life as it is told on its page: from its first callback to its settlement."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from connectors import noting
from connectors.board.queries import Link, Order
from connectors.board.raw import RawRecord, RawRecords
from connectors.board.words import money
from connectors.noting import Mark
from schemas import records as r

# Of a link that was looked up for months so many are shown at once, the newest first.
MOST = 60
_STEPS: dict[r.OrderStep, str] = {
    "CLOSED": "order closed",
    "SPLIT": "order split",
    "SETTLED": "order settled",
    "FAILED": "order refused",
}


class Decision(NamedTuple):
    """Something that became of an order. `at` in microseconds, UTC."""

    at: int
    what: str
    total: str = ""
    said: str = ""


class Deed(NamedTuple):
    """What a person did about the link, and what was said to it."""

    event_id: str
    what: str
    by: str
    said: str


class Chapter(NamedTuple):
    """One moment. `event` is the fact, `raw` what stood behind it, `changed` whether the link's
    status rose by it; or `anomaly` is what was noticed, with the latest word about it; or
    `decision` what became of its order, or `deed` what a person did.
    """

    at: int
    event: r.LinkEvent | None = None
    raw: RawRecord | None = None
    changed: bool = False
    anomaly: r.Anomaly | None = None
    mark: Mark | None = None
    deed: Deed | None = None
    decision: Decision | None = None


def story(link: Link, order: Order | None, raw: RawRecords, upto: int | None) -> dict[str, Any]:
    """The link's chapters, oldest first, and how many older and newer facts are left out; `upto`
    counts the facts from the oldest on: the newest that is shown.

    What else happened is told with the facts of its time.
    """
    told = len(link.events) if upto is None else min(upto, len(link.events))
    first = max(0, told - MOST)
    events = link.events[first:told]
    behind = raw.read(event["origin"] for event in events)
    reached = {(status, at) for status, at in link.status["times"].items()}
    chapters = [
        Chapter(
            event["received_at"],
            event=event,
            raw=behind[event["origin"]],
            changed=bool(_told(event) & reached),
        )
        for event in events
    ]
    # Without facts of its own a link has one page, and that tells all.
    since = link.events[first]["received_at"] if first else None
    until = link.events[told]["received_at"] if told < len(link.events) else None
    chapters += [
        chapter
        for chapter in _besides(link, order)
        if (since is None or chapter.at >= since) and (until is None or chapter.at < until)
    ]
    return {
        # At the same moment the fact comes first, and what follows from it after.
        "chapters": sorted(chapters, key=lambda one: (one.at, one.event is None)),
        "older": first,
        "newer": len(link.events) - told,
        "told": told,
        "most": MOST,
    }


def _besides(link: Link, order: Order | None) -> Iterator[Chapter]:
    for anomaly in link.anomalies:
        mark = link.marks.get(anomaly["event_id"])
        yield Chapter(anomaly["at"], anomaly=anomaly, mark=mark)
    for notice in link.deeds:
        yield Chapter(notice["received_at"], deed=_deed(notice))
    if order:
        yield from (Chapter(one.at, decision=one) for one in decisions(order))


def _deed(notice: r.Notice) -> Deed:
    told, status = notice["attributes"], notice["status"].replace("_", " ")
    if notice["kind"] == noting.HANDLED:
        kind = told.get("kind", "").replace("_", " ").lower()
        what = f"{kind} marked as {'done' if status == 'done' else 'open again'}"
        return Deed(notice["event_id"], what, told.get("by", ""), told.get("note", ""))
    said = f"{notice['provider']}: {told.get('answer', '')}"
    return Deed(notice["event_id"], f"{notice['kind']}: {status}", told.get("by", ""), said)


def decisions(order: Order) -> list[Decision]:
    """What became of the order, oldest first."""
    status = order.status
    found = [
        Decision(at, _STEPS.get(step, step), "", "reported on order-updates")
        for step, at in status["steps"].items()
    ]
    if close := order.close:
        total = money(close["total_minor"], close["currency"])
        found.append(Decision(close["decided_at"], "order-close", total, "decided"))
    for one in order.settlements:
        total = money(one["amount_minor"], one["currency"])
        found.append(Decision(one["decided_at"], "settlement", total, one["kind"].lower()))
    return sorted(found)


def _told(event: r.LinkEvent) -> set[tuple[r.Status, int]]:
    times = (event["occurred_at"], event["received_at"])
    return {(event["status"], at) for at in times if at is not None and event["verified"]}
