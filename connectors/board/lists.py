"""The lists of the board: a page of rows, for the JSON API, the pages and the exports alike.

Each list takes the store, the configured providers, which a search looks at, the parameters,
the most rows and the position before them. Blocking: call them in a thread.
"""

from collections.abc import Callable, Sequence
from typing import Any

from connectors.board.board import Board
from connectors.board.database import (
    anomalies,
    counted,
    dead_letters,
    links,
    money,
    notices,
    orders,
    reconciliations,
    waiting_orders,
)
from connectors.board.database import tables as t
from connectors.board.database.figures import stage
from connectors.board.database.paging import Cursor, Page
from connectors.board.database.store import Store
from connectors.board.database.waiting import of_link
from connectors.board.http import parameters
from schemas.records import LinkStatus

Providers = Sequence[str]
Row = dict[str, Any]
ListOf = Callable[[Store, Providers, Any, int, Cursor | None], Page]


def page(of: ListOf, board: Board, query: parameters.Page) -> Page:
    """Return the page of a list that the parameters name."""
    return of(board.store, board.providers, query, query.limit, query.after())


def of_links(
    store: Store,
    providers: Providers,
    query: parameters.LinkFilter,
    limit: int,
    after: Cursor | None,
) -> Page:
    """Return links as `with_orders` does, the newest first, or those behind a figure."""
    filters = query.filter()
    if counts := query.counts():
        page = counted.search(store, t.link_status, counts, filters, limit, after, query.q)
    else:
        page = links.search(store, filters, limit, after, prefix=query.q, providers=providers)
    return page._replace(rows=with_orders(store, page.rows))


def with_orders(store: Store, rows: Sequence[LinkStatus]) -> list[Row]:
    """Return the links, each with the state of its order, if that is known, and whom the order
    waits for (`waiting`). A link without a known order that waits only for its payer says nothing.
    """
    known = orders.of_links(store, rows)
    alone = {
        key: orders.open_order([row])
        for row in rows
        if of_link(row) and (key := _order_of(row)) not in known
    }
    waiting = waiting_orders.explain(store, [*known.values(), *alone.values()])
    found = []
    for row in rows:
        order = why = None
        if orders.is_in_order(row):
            key = _order_of(row)
            order, why = known.get(key), waiting.get(key)
        found.append({**row, "order_state": order and order["state"], "waiting": why})
    return found


def _order_of(link: LinkStatus) -> tuple[str, str]:
    return link["provider"], link["order_id"]


def of_orders(
    store: Store,
    providers: Providers,
    query: parameters.OrderFilter,
    limit: int,
    after: Cursor | None,
) -> Page:
    """Return orders, the newest first, those that wait, the oldest wait first, or those behind a
    figure of the money. Each has its `stage`, and whom it waits for (`waiting`).
    """
    filters = query.filter()
    if query.waits_for:
        page = waiting_orders.search(store, query.waits_for, filters, limit, after, query.q)
    elif counts := query.counts():
        page = counted.search(store, t.orders, counts, filters, limit, after, query.q)
    else:
        page = orders.search(store, filters, limit, after, prefix=query.q, providers=providers)
    waiting = waiting_orders.explain(store, page.rows)
    rows = [
        {**row, "waiting": waiting[row["provider"], row["order_id"]], "stage": stage(row)}
        for row in page.rows
    ]
    return page._replace(rows=rows)


def of_anomalies(
    store: Store,
    _: Providers,
    query: parameters.AnomalyList,
    limit: int,
    after: Cursor | None,
) -> Page:
    """Return anomalies, the newest first, each with its latest mark (`resolved`), or None."""
    page = anomalies.search(store, query.filter(), show=query.show, limit=limit, after=after)
    return page._replace(rows=[{**row, "resolved": mark} for row, mark in page.rows])


def of_dead_letters(
    store: Store,
    _: Providers,
    query: parameters.DeadLetterList,
    limit: int,
    after: Cursor | None,
) -> Page:
    """Return dead letters without their bodies, the newest first."""
    filter = query.filter()
    return dead_letters.search(
        store, filter, show=query.show, limit=limit, after=after, bodies=False
    )


def of_notices(
    store: Store,
    _: Providers,
    query: parameters.NoticeFilter,
    limit: int,
    after: Cursor | None,
) -> Page:
    """Return notices, the newest first."""
    return notices.search(store, query.filter(), limit, after)


def of_reconciliations(
    store: Store,
    _: Providers,
    query: parameters.ReconciliationFilter,
    limit: int,
    after: Cursor | None,
) -> Page:
    """Return reconciled days, the latest first."""
    return reconciliations.search(store, query.filter(), limit, after)


def of_money(
    store: Store,
    _: Providers,
    query: parameters.MoneyFilter,
    __: int,
    ___: Cursor | None,
) -> Page:
    """Return the sums of each currency and day, the latest day first: few rows, on one page."""
    first, end = query.days()
    found = money.days(store, first, end, query.provider or "", query.currency or "")
    rows = [
        {"currency": one.currency, "day": day, **sums}
        for one in found.currencies
        for day, sums in one.days.items()
    ]
    return Page(rows, None)
