"""Queries for orders. Blocking: call them in a thread."""

import json
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sqlalchemy import SelectBase, and_, false, or_, select, union

from connectors.board.database import paging
from connectors.board.database import tables as t
from connectors.board.database.paging import Cursor, Filters, Page, begins, records_of
from connectors.board.database.store import Store
from schemas import records as r


class Order(NamedTuple):
    """An order with its close, corrections and settlements, the oldest first, and the rows of its
    links.
    """

    status: r.OrderStatus
    close: r.OrderClose | None
    corrections: list[r.OrderCorrection]
    settlements: list[r.Settlement]
    members: list[r.LinkStatus]


def find(store: Store, provider: str, order_id: str) -> Order | None:
    """Return the order. An order that only links know is open, with those links; one that only a
    report knows is none.
    """
    name = {"provider": provider, "order_id": order_id}
    with store.reading() as connection:
        known = records_of(connection, t.orders, **name)
        members: list[r.LinkStatus] = [
            link for link in records_of(connection, t.link_status, **name) if is_in_order(link)
        ]
        closes = records_of(connection, t.order_close, "decided_at", "event_id", **name)
        corrections = records_of(connection, t.order_corrections, "decided_at", "event_id", **name)
        settlements = records_of(connection, t.settlements, "decided_at", "event_id", **name)
    if not members and (not known or known[0]["state"] == "UNKNOWN"):
        return None
    status = _with_links(known[0], members) if known else open_order(members)
    close = closes[0] if closes else None
    return Order(status, close, corrections, settlements, members)


def of_link(store: Store, link: r.LinkStatus) -> Order | None:
    """Return the order of the link, if it belongs to one."""
    return find(store, link["provider"], link["order_id"]) if is_in_order(link) else None


def is_in_order(link: r.LinkStatus) -> bool:
    """Whether the link belongs to an order: anyone can claim a link that does not exist. While its
    order is awaited it belongs to none, even if one has the awaited id.
    """
    return link["verified"] and link["order_from"] != "AWAITED"


def search(
    store: Store,
    filters: Filters,
    limit: int,
    after: Cursor | None = None,
    *,
    prefix: str = "",
    providers: Sequence[str] = (),
) -> Page:
    """Return orders by provider, state and time of change; without a state, none that only a report
    knows. With `prefix`, only those of `providers` whose id begins with it.
    """
    c = t.orders.c
    parts = [
        paging.some(
            select(c.provider, c.order_id).where(c.provider == name, begins(c.order_id, prefix))
        )
        for name in (providers if prefix else ())
    ]
    keys: SelectBase | None = union(*parts) if parts else None
    conditions = paging.filtered(t.orders, filters)
    if "state" not in filters:
        conditions.append(c.state != "UNKNOWN")
    page = paging.records(store, t.orders, conditions, limit, after, keys)
    return paging.marked_if_capped(store, page, parts)


def of_links(store: Store, links: Iterable[r.LinkStatus]) -> dict[tuple[str, str], r.OrderStatus]:
    """Return the known orders of these links, by provider and order id."""
    c = t.orders.c
    ids: dict[str, set[str]] = {}
    for link in links:
        if is_in_order(link):
            ids.setdefault(link["provider"], set()).add(link["order_id"])
    # One condition per provider: for pairs in one IN, SQLite scans the whole table.
    of_provider = [and_(c.provider == name, c.order_id.in_(some)) for name, some in ids.items()]
    query = select(c.record).where(or_(false(), *of_provider))
    with store.reading() as connection:
        orders = map(json.loads, connection.scalars(query))
        return {(order["provider"], order["order_id"]): order for order in orders}


def open_order(members: Sequence[r.LinkStatus]) -> r.OrderStatus:
    """Return the order that only these links know, at least one: a link without an order of its own
    becomes one when it is paid.
    """
    announced = [n for member in members if (n := _announced(member)) is not None]
    order: r.OrderStatus = {
        "state": "OPEN",
        "provider": members[0]["provider"],
        "order_id": members[0]["order_id"],
        "links": [],
        "moved_links": {},
        "links_in_order": max(announced, default=None),
        "closed_link_ids": [],
        "details_awaited_since": None,
        "decided_at": None,
        "total_minor": None,
        "currency": None,
        "correction_number": 0,
        "settlements": {},
        "steps": {},
        "failure": None,
        "changed_at": max(m["changed_at"] for m in members),
        "version": 0,
    }
    return _with_links(order, members)


def _with_links(status: r.OrderStatus, members: Sequence[r.LinkStatus]) -> r.OrderStatus:
    """Add the links that have not reached the order yet. The order's own view of a link wins."""
    links = {m["link_id"]: _as_order_link(m) for m in members}
    links |= {link["link_id"]: link for link in status["links"]}
    return {**status, "links": [links[link_id] for link_id in sorted(links)]}


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
        "awaits_details": False,
        "links_in_order": _announced(status),
        "closed_elsewhere": status["closed_elsewhere"],
    }


def _announced(status: r.LinkStatus) -> int | None:
    registration = status["registration"]
    if registration is None or registration["order_id"] not in (None, status["order_id"]):
        return None
    return registration["links_in_order"]
