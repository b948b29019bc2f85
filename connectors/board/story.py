"""One link's life as it is told on its page: from its first callback to its settlement."""

from typing import Any, NamedTuple

from connectors.board.queries import Link, Order
from connectors.board.raw import RawRecord, RawRecords
from connectors.board.words import money
from schemas import records as r

# Of a link that was looked up for months the newest are shown.
_MOST = 60
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


class Chapter(NamedTuple):
    """One moment. `event` is the fact, `raw` what stood behind it, `changed` whether the link's
    status rose by it; or `anomaly` is what was noticed, or `decision` what became of its order.
    """

    at: int
    event: r.LinkEvent | None = None
    raw: RawRecord | None = None
    changed: bool = False
    anomaly: r.Anomaly | None = None
    decision: Decision | None = None


def story(link: Link, order: Order | None, raw: RawRecords) -> dict[str, Any]:
    """The link's chapters, oldest first, and how many older ones are left out."""
    events = link.events[-_MOST:]
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
    chapters += [Chapter(anomaly["at"], anomaly=anomaly) for anomaly in link.anomalies]
    if order and link.status["order_from"] != "AWAITED":
        chapters += [Chapter(one.at, decision=one) for one in decisions(order)]
    return {
        # At the same moment the fact comes first, and what follows from it after.
        "chapters": sorted(chapters, key=lambda one: (one.at, one.event is None)),
        "left_out": len(link.events) - len(events),
    }


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
