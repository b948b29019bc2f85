"""The content of each page: what its template shows. Blocking: call the functions in a thread.

A page of one thing takes the request and returns None if there is no such thing. A list takes its
parameters.
"""

from functools import partial
from typing import Any, TypeVar

from starlette.requests import Request

from connectors.board import lists
from connectors.board.board import Board
from connectors.board.database import (
    anomalies,
    dead_letters,
    deliveries,
    links,
    orders,
    reconciliations,
    waiting_orders,
)
from connectors.board.database.money import SHOWN
from connectors.board.database.summary import RecentEvents
from connectors.board.http import parameters
from connectors.board.models import DeadLetter
from connectors.board.overview.money import overview as overview_of_money
from connectors.board.overview.money import rows_behind
from connectors.board.overview.money_back import money_back, refunds_of
from connectors.board.overview.refused_callbacks import explained
from connectors.board.pages import chart
from connectors.board.pages.timeline import order_steps, timeline
from connectors.masking import masked_attributes
from connectors.triage.filter import Filter

Content = dict[str, Any]
Q = TypeVar("Q", parameters.AnomalyPage, parameters.DeadLetterPage)

# A list counts no more of its rows than these, the newest.
MOST_COUNTED = 200
_LATEST = 12
_MOST_REASONS = 8


def of_overview(board: Board, _: Request) -> Content:
    summary = board.overview.summary()
    events = summary.events
    latest = links.search(board.store, {}, _LATEST).rows
    activity = {name: events.get(name, RecentEvents()) for name in board.providers}
    return {
        "links": lists.with_orders(board.store, latest),
        "kinds": board.overview.kinds,
        "refused": list(explained(summary.refused)),
        "activity": {name: (e, chart.bars(e.by_minute)) for name, e in activity.items()},
    }


def of_links(board: Board, query: parameters.LinkPage) -> Content:
    page = lists.page(lists.of_links, board, query)
    return {
        "links": page.rows,
        "next": page.next,
        "capped": page.capped,
        "statuses": parameters.STATUSES,
        "measures": parameters.LINK_MEASURES,
    }


def of_orders(board: Board, query: parameters.OrderPage) -> Content:
    page = lists.page(lists.of_orders, board, query)
    return {
        "orders": page.rows,
        "next": page.next,
        "capped": page.capped,
        "states": parameters.STATES,
        "parties": parameters.PARTIES,
        "measures": parameters.ORDER_MEASURES,
    }


def of_anomalies(board: Board, query: parameters.AnomalyPage) -> Content:
    query = _with_open(query)
    page = lists.page(lists.of_anomalies, board, query)
    count = anomalies.count(board.store, query.filter(), show=query.show, most=MOST_COUNTED)
    return {
        "anomalies": page.rows,
        "next": page.next,
        "most_counted": MOST_COUNTED,
        "count": count,
        "show": query.show,
        "filters": query.chosen(*parameters.AnomalyFilter.model_fields),
        "kinds": parameters.KINDS,
    }


def of_notices(board: Board, query: parameters.NoticePage) -> Content:
    page = lists.page(lists.of_notices, board, query)
    rows = [{**row, "attributes": masked_attributes(row["attributes"])} for row in page.rows]
    return {"notices": rows, "next": page.next}


def of_reconciliations(board: Board, query: parameters.ReconciliationPage) -> Content:
    page = lists.page(lists.of_reconciliations, board, query)
    return {"days": page.rows, "next": page.next}


def of_money(board: Board, query: parameters.MoneyFilter) -> Content:
    return {
        "money": overview_of_money(board.store, query, board.overview.kinds),
        "shown": SHOWN,
        "behind": partial(rows_behind, query.provider),
    }


def of_reconciliation(board: Board, request: Request) -> Content | None:
    day = reconciliations.find(board.store, **request.path_params)
    return None if day is None else {"day": day}


def of_dead_letters(board: Board, query: parameters.DeadLetterPage) -> Content:
    query = _with_open(query)
    page = lists.page(lists.of_dead_letters, board, query)
    reasons = dead_letters.count_by_reason(
        board.store, query.filter(), show=query.show, most=MOST_COUNTED
    )
    return {
        "dead_letters": page.rows,
        "next": page.next,
        "most_counted": MOST_COUNTED,
        "count": sum(number for _, _, number in reasons),
        "show": query.show,
        "filters": query.chosen(*parameters.DeadLetterFilter.model_fields),
        "reasons": reasons[:_MOST_REASONS],
    }


def of_link(board: Board, request: Request) -> Content | None:
    provider, link_id = request.path_params["provider"], request.path_params["link_id"]
    link = links.find(board.store, provider, link_id)
    if link is None:
        return None
    status = link.status
    order = orders.of_link(board.store, status)
    own_dead_letters = Filter(provider=provider, link_id=link_id)
    return {
        "link": status,
        "order": order,
        "waiting": order and waiting_orders.explain_one(board.store, order.status),
        "dead_letters": dead_letters.count(board.store, own_dead_letters, show="open"),
        "back": money_back([status]),
        "refunds": refunds_of([status]),
        "deliveries": deliveries.of_link(board.store, provider, link_id),
        "may_cancel": board.cancellations.why_not(status) is None,
        "may_look_up": board.lookups.why_not(status) is None,
        "cancellation": board.cancellations.latest(status),
        **timeline(link, order, board.raw, _number(request.query_params.get("upto", ""))),
    }


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None


def of_order(board: Board, request: Request) -> Content | None:
    order = orders.find(board.store, **request.path_params)
    if order is None:
        return None
    return {
        "order": order,
        "waiting": waiting_orders.explain_one(board.store, order.status),
        "back": money_back(order.members),
        "refunds": refunds_of(order.members),
        "steps": order_steps(order),
    }


def of_dead_letter(board: Board, request: Request) -> Content | None:
    row = dead_letters.find(board.store, **request.path_params)
    if row is None:
        return None
    dead_letter = {**DeadLetter.model_validate(row).model_dump(), "micros": row["at"]}
    return {"dead_letter": dead_letter, "replays": row["replays"], "resolved": row["resolved"]}


def _with_open(query: Q) -> Q:
    """Return what a page shows: the open rows, unless the person chooses."""
    if "show" in query.model_fields_set:
        return query
    return query.model_copy(update={"show": "open"})
