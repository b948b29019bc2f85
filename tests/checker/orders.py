"""Orders: each closes if and only if it must, with what was paid."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.checker.findings import (
    LOST,
    MISSING_CLOSE,
    WITHOUT_CAUSE,
    WRONG_CLOSE,
    WRONG_ROW,
    Findings,
    finding,
)
from tests.checker.history import CLOSES, EVENTS, History
from tests.checker.link_state import ENDED, LinkState, latest_registration
from tests.checker.order_state import Order, orders_of
from tests.checker.rows import States
from tests.checker.settlements import check_settlements

# A close may wait so long for an amount that nothing has stated yet (microseconds).
_PATIENCE = 300_000_000


def check_orders(history: History, states: States) -> Findings:
    if not history.is_whole(EVENTS):
        # What links were once is not known.
        return
    for order in orders_of(history, states).values():
        yield from _row(order)
        yield from _closes(order, states)
        if not order.closes and history.is_whole(CLOSES):
            yield from _missing(history, order)
        yield from check_settlements(history, order)


def _row(order: Order) -> Findings:
    """The row of an order has its links, as they are."""
    must = {link.key.partition(":")[2]: link.status for link in order.links}
    if order.row is None:
        if must:
            yield finding(LOST, order.key, "links, and no row in orders", order.lines)
        return
    row = order.row.value
    known = {link["link_id"]: link["status"] for link in row["links"]}
    if known != must:
        text = f"links {known}, must be {must}"
        yield finding(WRONG_ROW, order.key, text, [order.row.line, *order.lines])
    if (row["decided_at"] is not None) != bool(order.closes):
        decided = "decided" if row["decided_at"] is not None else "not decided"
        text = f"the close is {decided} in orders, and {len(order.closes)} are in order-close"
        yield finding(WRONG_ROW, order.key, text, [order.row.line])


def _closes(order: Order, states: States) -> Findings:
    for record in order.closes:
        close = record.value
        lines = [record.line, *order.lines]
        for text in _causes_missing(order, close, states):
            yield finding(WITHOUT_CAUSE, order.key, text, lines)
        for text in _wrong_parts(order, close, states):
            yield finding(WRONG_CLOSE, order.key, text, lines)


def _causes_missing(order: Order, close: Mapping[str, Any], states: States) -> Iterator[str]:
    closed, decided_at = {link["link_id"] for link in close["links"]}, close["decided_at"]
    if not closed:
        yield "it has no link"
    for link_id in closed:
        state = states.get(f"{close['provider']}:{link_id}")
        if state is None or state.status != "PAID" or state.order != order.key:
            yield f"link {link_id} is not paid in this order"
        elif state.first_at("PAID") > decided_at:
            yield f"link {link_id} was paid later"
    known = [
        link
        for link in order.links
        if link.key.partition(":")[2] in closed or link.key not in order.late
    ]
    for link in known:
        if link.status not in ENDED or link.first_at(*ENDED) > decided_at:
            yield f"link {link.key} was still open"
    announced = max((_announced(link, decided_at) for link in known), default=1)
    if len(known) < announced:
        yield f"{announced} links were announced, {len(known)} were known"


def _announced(link: LinkState, until: int | None = None) -> int:
    """Return how many links the latest registration announces for the order of the link."""
    latest = latest_registration(
        event for event in link.counted if until is None or event["received_at"] <= until
    )
    if latest is None or latest["order_id"] not in (None, link.row["order_id"]):
        return 1
    return latest["links_in_order"] or 1


def _wrong_parts(order: Order, close: Mapping[str, Any], states: States) -> Iterator[str]:
    closed = {link["link_id"] for link in close["links"]}
    for link in order.paid:
        if link.key not in order.late and link.key.partition(":")[2] not in closed:
            yield f"the paid link {link.key} is missing"
    # Of several corrections the last one counts.
    latest = order.corrections[-1].value if order.corrections else close
    for stated in (close, latest):
        if (stated["total_minor"], stated["currency"]) != _total(stated["links"]):
            yield f"the total {stated['total_minor']} {stated['currency']} is no sum of its links"
    for link in latest["links"]:
        state = states.get(f"{close['provider']}:{link['link_id']}")
        amount = (link["amount_minor"], link["currency"])
        if state is not None and state.amount()[0] is not None and amount != state.amount():
            yield f"link {link['link_id']} was paid {state.amount()}, the close has {amount}"
        if state is not None and link["payment_id"] not in (None, *state.row["payment_ids"]):
            yield f"link {link['link_id']} has no payment {link['payment_id']}"


def _total(links: Sequence[Mapping[str, Any]]) -> tuple[int | None, str | None]:
    currencies = {link["currency"] for link in links}
    amounts = [link["amount_minor"] for link in links if link["amount_minor"] is not None]
    if len(currencies) != 1 or len(amounts) < len(links):
        return None, None
    return sum(amounts), currencies.pop()


def _missing(history: History, order: Order) -> Findings:
    if not order.paid or any(link.status not in ENDED for link in order.links):
        return
    if any(link.row["closed_elsewhere"] for link in order.links):
        return
    if len(order.links) < max(_announced(link) for link in order.links):
        return
    unknown = any(None in (k.row["amount_minor"], k.row["currency"]) for k in order.paid)
    news = max(event["received_at"] for link in order.links for event in link.counted)
    if unknown and news + _PATIENCE > history.ends_at:
        return
    text = f"paid links and none open: {', '.join(link.key for link in order.links)}"
    yield finding(MISSING_CLOSE, order.key, text, order.lines)
