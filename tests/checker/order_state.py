"""What a history shows of each order."""

from dataclasses import dataclass, field

from tests.checker.history import (
    ANOMALIES,
    CLOSES,
    CORRECTIONS,
    ORDERS,
    SETTLEMENTS,
    UPDATES,
    History,
    Record,
)
from tests.checker.link_state import LinkState
from tests.checker.rows import States


@dataclass(slots=True)
class Order:
    """`links` are those that count in it now; `late` came, or were paid, after the close."""

    key: str
    links: list[LinkState] = field(default_factory=list)
    late: set[str] = field(default_factory=set)
    closes: list[Record] = field(default_factory=list)
    corrections: list[Record] = field(default_factory=list)
    settlements: list[Record] = field(default_factory=list)
    steps: set[str] = field(default_factory=set)
    row: Record | None = None

    @property
    def paid(self) -> list[LinkState]:
        return [link for link in self.links if link.status == "PAID"]

    @property
    def lines(self) -> list[int]:
        return [line for link in self.links for line in link.lines[:3]]


def orders_of(history: History, states: States) -> dict[str, Order]:
    orders: dict[str, Order] = {}

    def order(key: str | None) -> Order:
        return orders.setdefault(key or "", Order(key or ""))

    for state in states.values():
        if state.counts:
            order(state.order).links.append(state)
    late = {r.key for r in history.topics[ANOMALIES] if r.value["kind"] == "LATE_LINK"}
    for each in orders.values():
        each.late |= {link.key for link in each.links} & late
    for topic, name in ((CLOSES, "closes"), (CORRECTIONS, "corrections")):
        for record in history.topics[topic]:
            getattr(order(record.key), name).append(record)
    for record in history.topics[SETTLEMENTS]:
        order(record.key).settlements.append(record)
    for record in history.topics[UPDATES]:
        if record.key in orders:
            orders[record.key].steps.add(record.value["step"])
    for record in history.topics[ORDERS]:
        if record.value is not None:
            order(record.key).row = record
    return orders
