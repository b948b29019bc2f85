"""The questions the board answers: a few indexed look-ups each. Blocking: call them in a thread."""

import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Select,
    SelectBase,
    Table,
    and_,
    false,
    func,
    or_,
    select,
    tuple_,
)

from connectors import noting
from connectors.board import tables as t
from connectors.board.rows import storable
from connectors.board.store import Store
from connectors.letters.letter import Place
from connectors.noting import Mark
from schemas import records as r

Cursor = tuple[str | int, ...]


class Page(NamedTuple):
    """Rows newest first, and the cursor that continues after them (None at the end)."""

    rows: list[Any]
    next: Cursor | None


class Link(NamedTuple):
    """`deeds` are notices of what people did about it, `marks` the latest word of each anomaly."""

    status: r.LinkStatus
    events: list[r.LinkEvent]
    anomalies: list[r.Anomaly]
    deeds: list[r.Notice]
    marks: dict[str, Mark]


class Order(NamedTuple):
    status: r.OrderStatus
    close: r.OrderClose | None
    settlements: list[r.Settlement]


# What a table is paged by: newest first, and unique to its end.
_PAGED_BY: dict[Table, Sequence[str]] = {
    t.link_status: ("changed_at", "provider", "link_id"),
    t.orders: ("changed_at", "provider", "order_id"),
    t.anomalies: ("at", "event_id"),
    t.dead_letters: ("at", "topic", "partition", "offset"),
    t.notices: ("received_at", "event_id"),
}


def cursor_types(table: Table) -> tuple[type, ...]:
    """What a cursor of this table consists of."""
    return tuple(table.c[name].type.python_type for name in _PAGED_BY[table])


def marks(store: Store, anomaly_ids: Iterable[str]) -> dict[str, Mark]:
    """The latest word about each anomaly that somebody has said one about."""
    c = t.handled.c
    said = select(c.anomaly_id, c.record).where(c.anomaly_id.in_(list(anomaly_ids)))
    with store.reading() as connection:
        rows = connection.execute(said).all()
    return {anomaly_id: noting.mark_of(json.loads(record)) for anomaly_id, record in rows}


def standing_at(table: Table, places: Iterable[Place]) -> ColumnElement[bool]:
    """Holds of what is told of the dead letters at these places."""
    c = table.c
    # Pairs in one IN would have SQLite look through all rows.
    return or_(false(), *(and_(c.partition == p, c.offset == o) for p, o in places))


def letter_marks(store: Store, places: Iterable[Place]) -> dict[Place, Mark]:
    """The latest word about each dead letter that somebody has said one about."""
    c = t.aside.c
    query = select(c.partition, c.offset, c.record).where(standing_at(t.aside, places))
    with store.reading() as connection:
        rows = connection.execute(query).all()
    return {Place(p, o): noting.mark_of(json.loads(record)) for p, o, record in rows}


def dead_letters(
    store: Store,
    limit: int,
    after: Cursor | None = None,
    conditions: Sequence[ColumnElement[bool]] = (),
) -> Page:
    """Dead letters as mappings of their columns."""
    rows, following = _page(store, t.dead_letters, conditions, limit, after)
    return Page([{**row, "headers": json.loads(row["headers"])} for row in rows], following)


def link(store: Store, provider: str, link_id: str) -> Link | None:
    """A link with its whole timeline and all that people did about it, oldest first."""
    status = select(t.link_status.c.record).where(*_is(t.link_status, provider, link_id=link_id))
    events = (
        select(t.link_events.c.record)
        .where(*_is(t.link_events, provider, link_id=link_id))
        .order_by(t.link_events.c.received_at, t.link_events.c.offset)
    )
    noticed = (
        select(t.anomalies.c.record)
        .where(*_is(t.anomalies, provider, link_id=link_id))
        .order_by(t.anomalies.c.at, t.anomalies.c.event_id)
    )
    told = (
        select(t.notices.c.record)
        .where(*_is(t.notices, provider, subject_id=link_id))
        .order_by(t.notices.c.received_at, t.notices.c.event_id)
    )
    with store.reading() as connection:
        record = connection.scalar(status)
        if record is None:
            return None
        timeline = [json.loads(row) for row in connection.scalars(events)]
        details = [json.loads(row) for row in connection.scalars(noticed)]
        notices = [json.loads(row) for row in connection.scalars(told)]
    return Link(
        json.loads(record),
        timeline,
        details,
        [one for one in notices if noting.is_of_link(one)],
        marks(store, [anomaly["event_id"] for anomaly in details]),
    )


def order(store: Store, provider: str, order_id: str) -> Order | None:
    """An order; one that only links know of is open with those links."""
    known = select(t.orders.c.record).where(*_is(t.orders, provider, order_id=order_id))
    with store.reading() as connection:
        record = connection.scalar(known)
        members = [json.loads(row) for row in connection.scalars(_members(provider, order_id))]
        closes = list(connection.scalars(_decisions(t.order_close, provider, order_id)))
        settled = list(connection.scalars(_decisions(t.settlements, provider, order_id)))
    if record is None and not members:
        return None
    status = json.loads(record) if record else _open_order(provider, order_id, members)
    return Order(
        _with_links(status, members),
        json.loads(closes[0]) if closes else None,
        [json.loads(row) for row in settled],
    )


def order_states(store: Store, links: Iterable[r.LinkStatus]) -> dict[tuple[str, str], str]:
    """By provider and id the states of the orders that these links count in, as far as known."""
    c = t.orders.c
    asked: dict[str, set[str]] = {}
    for link in links:
        if link["order_from"] != "AWAITED":
            asked.setdefault(link["provider"], set()).add(link["order_id"])
    # Each provider's apart, for the reason that places are.
    there = [and_(c.provider == name, c.order_id.in_(ids)) for name, ids in asked.items()]
    query = select(c.provider, c.order_id, c.state).where(or_(false(), *there))
    with store.reading() as connection:
        rows = connection.execute(query).all()
    return {(provider, order_id): state for provider, order_id, state in rows}


def counts(store: Store) -> dict[str, dict[str, int]]:
    """Number of links by provider and status."""
    c = t.link_status.c
    query = select(c.provider, c.status, func.count()).group_by(c.provider, c.status)
    found: dict[str, dict[str, int]] = {}
    with store.reading() as connection:
        for provider, status, number in connection.execute(query):
            found.setdefault(provider, {})[status] = number
    return found


def totals(store: Store) -> dict[str, int]:
    """Number of rows of what the first page shows only the newest of."""
    shown = (t.orders, t.anomalies, t.dead_letters, t.unreadable)
    with store.reading() as connection:
        return {
            table.name: connection.scalar(select(func.count()).select_from(table)) or 0
            for table in shown
        }


def _is(table: Table, provider: str, **identity: str) -> list[ColumnElement[bool]]:
    (name, value), *_ = identity.items()
    return [table.c.provider == storable(provider), table.c[name] == storable(value)]


def records(
    store: Store,
    table: Table,
    conditions: Sequence[ColumnElement[bool]],
    limit: int,
    after: Cursor | None,
    among: SelectBase | None = None,
) -> Page:
    """Records of a table that keeps them whole; of those alone whose keys are `among`, if given."""
    rows, following = _page(store, table, conditions, limit, after, among)
    return Page([json.loads(row["record"]) for row in rows], following)


def _page(
    store: Store,
    table: Table,
    conditions: Sequence[ColumnElement[bool]],
    limit: int,
    after: Cursor | None,
    among: SelectBase | None = None,
) -> Page:
    columns = [table.c[name] for name in _PAGED_BY[table]]
    query = select(table).where(*conditions)
    if among is not None:
        # A join, so that few keys cost little: asked with IN, SQLite looks through all rows.
        keys = among.subquery()
        query = query.join(keys, and_(*(table.c[key.name] == key for key in keys.c)))
    if after is not None:
        query = query.where(tuple_(*columns) < tuple(storable(part) for part in after))
    query = query.order_by(*(column.desc() for column in columns)).limit(limit + 1)
    with store.reading() as connection:
        rows = [dict(row) for row in connection.execute(query).mappings()]
    if len(rows) <= limit:
        return Page(rows, None)
    last = rows[limit - 1]
    return Page(rows[:limit], tuple(last[column.name] for column in columns))


def _members(provider: str, order_id: str) -> Select[str]:
    c = t.link_status.c
    return select(c.record).where(*_is(t.link_status, provider, order_id=order_id), c.in_order)


def _decisions(table: Table, provider: str, order_id: str) -> Select[str]:
    matching = select(table.c.record).where(*_is(table, provider, order_id=order_id))
    return matching.order_by(table.c.decided_at, table.c.event_id)


def _open_order(provider: str, order_id: str, members: list[r.LinkStatus]) -> r.OrderStatus:
    expected = [m["registration"]["links_in_order"] for m in members if m["registration"]]
    return {
        "provider": provider,
        "order_id": order_id,
        "state": "OPEN",
        "links": [],
        "links_in_order": max((n for n in expected if n is not None), default=None),
        "closed_link_ids": [],
        "decided_at": None,
        "total_minor": None,
        "currency": None,
        "settlements": {},
        "steps": {},
        "failure": None,
        "changed_at": max(m["changed_at"] for m in members),
        "version": 0,
    }


def _with_links(status: r.OrderStatus, members: list[r.LinkStatus]) -> r.OrderStatus:
    """The order's own view of its links, and after it those that have not reached it yet."""
    own = {known["link_id"]: known for known in status["links"]}
    reported = {m["link_id"]: _as_order_link(m) for m in members}
    merged = {**reported, **own}
    return {**status, "links": [merged[link_id] for link_id in sorted(merged)]}


def _as_order_link(status: r.LinkStatus) -> r.OrderLink:
    settled = {p["payment_id"] for p in status["payments"] if "SETTLED" in p["seen"]}
    return {
        "link_id": status["link_id"],
        "status": status["status"],
        "payment_id": status["payment_id"],
        "amount_minor": status["amount_minor"],
        "currency": status["currency"],
        "paid_at": status["times"].get("PAID"),
        "settled": status["payment_id"] in settled,
    }
