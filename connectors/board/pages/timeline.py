"""The timeline of a link, from its first callback to its settlement."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from connectors.board.database.links import Link
from connectors.board.database.orders import Order
from connectors.board.feed.raw_records import RawRecord, RawRecords
from connectors.board.http.text import money
from connectors.triage import audit
from connectors.triage.audit import Mark
from schemas import records as r

# A link that was looked up for months has many events: a page shows this many.
PAGE_EVENTS = 60
_ORDER_STEPS: dict[r.OrderStep, str] = {
    "CLOSED": "order closed",
    "SPLIT": "order split",
    "SETTLED": "order settled",
    "FAILED": "order refused",
}


class Step(NamedTuple):
    """What happened to an order, or what a person did about a link. `at` in microseconds, UTC."""

    at: int
    what: str
    total: str = ""
    note: str = ""
    detail: str = ""
    id: str = ""


class Entry(NamedTuple):
    """One entry: an `event` with the `raw` record behind it (`changed`: the status of the link rose
    by it), an `anomaly` with its latest mark, or a `step`. `at` in microseconds, UTC.
    """

    at: int
    event: r.LinkEvent | None = None
    raw: RawRecord | None = None
    changed: bool = False
    anomaly: r.Anomaly | None = None
    mark: Mark | None = None
    step: Step | None = None


def timeline(link: Link, order: Order | None, raw: RawRecords, upto: int | None) -> dict[str, Any]:
    """Return one page of the timeline, the oldest entry first, and how many events are on older and
    newer pages. `upto` is the number of the page's last event, counted from the oldest event on;
    None: the newest page.

    Entries without an event are on the page of their time.
    """
    events = link.events
    end = len(events) if upto is None else min(upto, len(events))
    start = max(0, end - PAGE_EVENTS)
    # A link without events has one page, which shows all.
    since = events[start]["received_at"] if start else None
    until = events[end]["received_at"] if end < len(events) else None
    others = [
        entry
        for entry in _other_entries(link, order)
        if (since is None or entry.at >= since) and (until is None or entry.at < until)
    ]
    entries = [*_event_entries(link, events[start:end], raw), *others]
    return {
        # At the same moment the event comes first, then what follows from it.
        "entries": sorted(entries, key=lambda entry: (entry.at, entry.event is None)),
        "older": start,
        "newer": len(events) - end,
        "shown_upto": end,
        "page_events": PAGE_EVENTS,
    }


def _event_entries(link: Link, events: Sequence[r.LinkEvent], raw: RawRecords) -> Iterator[Entry]:
    records = raw.read(event["origin"] for event in events)
    rises = set(link.status["times"].items())
    for event in events:
        times = (event["occurred_at"], event["received_at"])
        changed = event["verified"] and any((event["status"], at) in rises for at in times)
        yield Entry(event["received_at"], event, records[event["origin"]], changed)


def _other_entries(link: Link, order: Order | None) -> Iterator[Entry]:
    for anomaly in link.anomalies:
        mark = link.marks.get(anomaly["event_id"])
        yield Entry(anomaly["at"], anomaly=anomaly, mark=mark)
    steps = [_action(notice) for notice in link.actions] + (order_steps(order) if order else [])
    yield from (Entry(step.at, step=step) for step in steps)


def _action(notice: r.Notice) -> Step:
    attributes, status = notice["attributes"], notice["status"].replace("_", " ")
    if notice["kind"] == audit.ANOMALY_MARKED:
        kind = attributes.get("kind", "").replace("_", " ").lower()
        what = f"{kind} {'resolved' if status == 'resolved' else 'reopened'}"
        detail = attributes.get("note", "")
    else:
        what = f"{notice['kind'].replace('_', ' ')}: {status}"
        detail = f"{notice['provider']}: {attributes.get('answer', '')}"
    note = f"by {attributes.get('by', '')}"
    return Step(notice["received_at"], what, "", note, detail, notice["event_id"])


def order_steps(order: Order) -> list[Step]:
    """Return what happened to the order, the oldest first."""
    steps = [
        Step(at, _ORDER_STEPS.get(step, step), "", "reported on order-updates")
        for step, at in order.status["steps"].items()
    ]
    if close := order.close:
        total = money(close["total_minor"], close["currency"])
        steps.append(Step(close["decided_at"], "order-close", total, "decided"))
    for correction in order.corrections:
        total = money(correction["total_minor"], correction["currency"])
        steps.append(Step(correction["decided_at"], "order-correction", total, "decided"))
    for settlement in order.settlements:
        total = money(settlement["amount_minor"], settlement["currency"])
        kind = settlement["kind"].lower()
        steps.append(Step(settlement["decided_at"], "settlement", total, kind))
    return sorted(step._replace(id=f"{step.at}:{step.what}") for step in steps)
