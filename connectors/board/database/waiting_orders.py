"""Queries for orders that wait for more than their payer. Blocking: call them in a thread."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import (
    ColumnElement,
    Select,
    Subquery,
    Table,
    and_,
    func,
    or_,
    select,
    tuple_,
    union_all,
)

from connectors.board.database import anomalies, paging
from connectors.board.database import tables as t
from connectors.board.database.orders import open_order
from connectors.board.database.paging import Cursor, Filters, Page, begins
from connectors.board.database.projection import storable
from connectors.board.database.store import Store
from connectors.board.database.waiting import FOR_PERSONS, Party, Waiting, waiting
from schemas import records as r

_Key = tuple[str, str]


class Overdue(NamedTuple):
    """Orders of a provider that have waited for someone too long; `since` is the earliest. Those
    with a failed step are apart.
    """

    provider: str
    waits_for: Party
    number: int
    since: int
    failed: bool = False


def explain(store: Store, orders: Sequence[r.OrderStatus]) -> dict[_Key, Waiting | None]:
    """Return whom each of these orders waits for, by provider and order id."""
    links: dict[_Key, list[r.LinkStatus]] = {}
    for link in _links(store, orders):
        links.setdefault((link["provider"], link["order_id"]), []).append(link)
    keys = {(order["provider"], order["order_id"]): order for order in orders}
    return {key: waiting(order, links.get(key, ())) for key, order in keys.items()}


def explain_one(store: Store, order: r.OrderStatus) -> Waiting | None:
    """Return whom this order waits for."""
    return explain(store, [order])[order["provider"], order["order_id"]]


def search(
    store: Store,
    waits_for: str,
    filters: Filters,
    limit: int,
    after: Cursor | None = None,
    prefix: str = "",
) -> Page:
    """Return orders that wait for this party, or for `any` but the payer; the oldest wait first.
    With `prefix`, only those whose id begins with it. An order may be one that only its link knows.
    """
    c, order, link = _waits(waits_for).subquery().c, t.orders.c, t.link_status.c
    first = select(c.provider, c.order_id, func.min(c.since).label("since"))
    waits = first.group_by(c.provider, c.order_id).subquery()
    position = (waits.c.since, waits.c.provider, waits.c.order_id)
    conditions = [or_(*_filtered(filters))]
    if prefix:
        conditions.append(begins(waits.c.order_id, prefix))
    if after is not None:
        conditions.append(tuple_(*position) > after)
    own_link = and_(link.provider == waits.c.provider, link.link_id == waits.c.order_id)
    joined = (
        select(order.record, link.record, *position)
        .outerjoin(t.orders, _is_same(waits))
        .outerjoin(t.link_status, and_(order.record.is_(None), own_link))
    )
    query = joined.where(*conditions).order_by(*position)
    with store.reading() as connection:
        found = connection.execute(query.limit(limit + 1)).all()
    rows = [
        json.loads(known) if known else open_order([json.loads(only)])
        for known, only, *_ in found[:limit]
    ]
    return Page(rows, paging.following(found, limit, 2))


def _filtered(filters: Filters) -> Iterator[ColumnElement[bool]]:
    """Yield the conditions of known orders, and of those that only a link knows: these are open."""
    is_known = t.orders.c.record.is_not(None)
    yield and_(is_known, *paging.filtered(t.orders, filters))
    if filters.get("state", "OPEN") == "OPEN":
        of_link = {name: value for name, value in filters.items() if name != "state"}
        yield and_(~is_known, *paging.filtered(t.link_status, of_link))


def overdue(store: Store, now: int, seconds: Mapping[Party, float]) -> list[Overdue]:
    """Return the orders that have waited longer than `seconds`, the earliest first."""
    waits = _waits("any").subquery()
    c = waits.c
    too_long = (
        and_(c.waits_for == party, c.since < now - int(limit * 1_000_000))
        for party, limit in seconds.items()
    )
    failed = func.coalesce(t.orders.c.state, "OPEN") == "FAILED"
    number = func.count(c.order_id.distinct())
    query = (
        select(c.provider, c.waits_for, number, func.min(c.since), failed)
        .outerjoin(t.orders, _is_same(waits))
        .where(or_(*too_long))
        .group_by(c.provider, c.waits_for, failed)
        .order_by(func.min(c.since), c.provider)
    )
    with store.reading() as connection:
        return [Overdue(*row) for row in connection.execute(query)]


def _links(store: Store, orders: Iterable[r.OrderStatus]) -> list[r.LinkStatus]:
    """Return the links of these orders that wait for more than their payer."""
    c = t.link_status.c
    ids: dict[str, set[str]] = {}
    for order in orders:
        if order["decided_at"] is None:
            ids.setdefault(storable(order["provider"]), set()).add(storable(order["order_id"]))
    if not ids:
        return []
    of_provider = [and_(c.provider == name, c.order_id.in_(some)) for name, some in ids.items()]
    query = select(c.record).where(or_(*of_provider), *_is_waiting())
    with store.reading() as connection:
        return [json.loads(record) for record in connection.scalars(query)]


def _is_waiting() -> list[ColumnElement[bool]]:
    """Return the conditions of a link that waits. It waits for no person who has dealt with it."""
    c, anomaly = t.link_status.c, t.anomalies.c
    is_open = (
        select(anomaly.event_id)
        .where(
            anomaly.provider == c.provider,
            anomaly.link_id == c.link_id,
            anomaly.kind.in_(FOR_PERSONS),
            ~anomalies.is_resolved(),
        )
        .exists()
    )
    return [c.waits_for.is_not(None), or_(c.waits_for != "person", is_open)]


def _waits(waits_for: str) -> "Select[tuple[str, str, str, int]]":
    """Return provider, order_id, waits_for and since of each thing that an order waits for."""
    of_order, of_link = t.orders.c, t.link_status.c
    own = select(
        of_order.provider, of_order.order_id, of_order.waits_for, of_order.waiting_since
    ).where(of_order.waits_for.is_not(None))
    # A join would begin with all open orders.
    order = select(of_order.order_id).where(_is_same(t.link_status))
    is_open = order.where(of_order.state == "OPEN").exists()
    is_alone = and_(of_link.order_id == of_link.link_id, ~order.exists())
    of_links = select(
        of_link.provider, of_link.order_id, of_link.waits_for, of_link.waiting_since
    ).where(or_(is_open, is_alone), *_is_waiting())
    both = union_all(own, of_links).subquery()
    names = ("provider", "order_id", "waits_for")
    query = select(*(both.c[name] for name in names), both.c.waiting_since.label("since"))
    return query.where(both.c.waits_for == waits_for) if waits_for != "any" else query


def _is_same(other: Subquery | Table) -> ColumnElement[bool]:
    return and_(t.orders.c.provider == other.c.provider, t.orders.c.order_id == other.c.order_id)
