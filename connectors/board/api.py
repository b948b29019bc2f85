"""The query API: JSON for programs."""

import logging
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from starlette.convertors import IntegerConvertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from connectors.board import models
from connectors.board.board import Board
from connectors.board.database import (
    anomalies,
    dead_letters,
    links,
    notices,
    orders,
    reconciliations,
    waiting_orders,
)
from connectors.board.feed.live_events import EventStream
from connectors.board.http import parameters
from connectors.board.http.parameters import format_cursor
from connectors.board.overview.money_back import money_back, refunds_of
from connectors.board.overview.order_progress import close_blockers, durations
from connectors.http.api import RETRY_AFTER, InvalidField, errors

log = logging.getLogger(__name__)


class _Number(IntegerConvertor):
    """A number that Kafka may have. Python refuses to convert thousands of digits."""

    regex = "[0-9]{1,18}"


register_url_convertor("nr", _Number())


def _board(request: Request) -> Board:
    board: Board = request.app.state.board
    return board


def _known_provider(request: Request, board: Annotated[Board, Depends(_board)]) -> None:
    """A misspelt provider is an error, not an empty list."""
    name = request.query_params.get("provider")
    if name and name not in board.providers:
        raise InvalidField("provider", f"is not one of {', '.join(board.providers)}")


TheBoard = Annotated[Board, Depends(_board)]
Place = Annotated[int, Path(ge=0)]
router = APIRouter(tags=["board"], responses=errors(503))
_lists = APIRouter(tags=["board"], responses=errors(503), dependencies=[Depends(_known_provider)])


@router.get("/", response_model=models.Overview)
def overview(board: TheBoard) -> Any:
    """What flows now, and what is wrong."""
    return board.overview.as_json()


@_lists.get("/links", response_model=models.page_of("links", models.LinkStatus))
def list_links(board: TheBoard, query: Annotated[parameters.LinkPage, Query()]) -> Any:
    """The links, the newest first."""
    columns = query.chosen("provider", "status", "order_id")
    page = links.search(board.store, columns, query.limit, query.after())
    return {"links": page.rows, "next": format_cursor(page.next)}


@router.get("/links/{provider}/{link_id:path}", response_model=models.Link, responses=errors(404))
def link(board: TheBoard, provider: str, link_id: str) -> Any:
    """A link's status with its timeline."""
    row = links.find(board.store, provider, link_id)
    if row is None:
        raise HTTPException(404, "no such link")
    details = [
        {**anomaly, "resolved": row.marks.get(anomaly["event_id"])} for anomaly in row.anomalies
    ]
    parts = {"timeline": row.events, "anomaly_details": details, "actions": row.actions}
    order = orders.of_link(board.store, row.status)
    waiting = waiting_orders.explain_one(board.store, order.status) if order else None
    return {**row.status, **parts, "waiting": waiting}


@_lists.get("/orders", response_model=models.page_of("orders", models.ListedOrder))
def list_orders(board: TheBoard, query: Annotated[parameters.OrderPage, Query()]) -> Any:
    """The orders, the newest first, each with the reason why it is not closed."""
    store, columns = board.store, query.chosen("provider", "state")
    if query.waits_for:
        page = waiting_orders.search(store, query.waits_for, columns, query.limit, query.after())
    else:
        page = orders.search(store, columns, query.limit, query.after())
    waiting = waiting_orders.explain(store, page.rows)
    rows = [{**row, "waiting": waiting[row["provider"], row["order_id"]]} for row in page.rows]
    return {"orders": rows, "next": format_cursor(page.next)}


@router.get(
    "/orders/{provider}/{order_id:path}", response_model=models.Order, responses=errors(404)
)
def order(board: TheBoard, provider: str, order_id: str) -> Any:
    """An order with its links, close, settlements and refunds."""
    row = orders.find(board.store, provider, order_id)
    if row is None:
        raise HTTPException(404, "no such order")
    return {
        **row.status,
        "close": row.close,
        "corrections": row.corrections,
        "settlements": row.settlements,
        "money_back": money_back(row.members),
        "refunds": refunds_of(row.members),
        "durations": durations(row.status),
        "close_blockers": close_blockers(row.status),
        "waiting": waiting_orders.explain_one(board.store, row.status),
    }


@_lists.get("/anomalies", response_model=models.page_of("anomalies", models.Anomaly))
def list_anomalies(board: TheBoard, query: Annotated[parameters.AnomalyPage, Query()]) -> Any:
    """What a person should see, the newest first."""
    page = anomalies.search(
        board.store, query.filter(), show=query.show, limit=query.limit, after=query.after()
    )
    rows = [{**anomaly, "resolved": mark} for anomaly, mark in page.rows]
    return {"anomalies": rows, "next": format_cursor(page.next)}


@_lists.get("/notices", response_model=models.page_of("notices", models.NoticeWithAnswer))
def list_notices(board: TheBoard, query: Annotated[parameters.NoticePage, Query()]) -> Any:
    """What does not concern a link's status, and what people did; the newest first."""
    page = notices.search(board.store, query.chosen("provider"), query.limit, query.after())
    return {"notices": page.rows, "next": format_cursor(page.next)}


@_lists.get(
    "/reconciliations", response_model=models.page_of("reconciliations", models.ReconciledDay)
)
def list_reconciliations(
    board: TheBoard, query: Annotated[parameters.ReconciliationPage, Query()]
) -> Any:
    """What each provider paid out on a day, against what was closed; the latest day first."""
    page = reconciliations.search(board.store, query.chosen("provider"), query.limit, query.after())
    return {"reconciliations": page.rows, "next": format_cursor(page.next)}


@router.get(
    "/reconciliations/{provider}/{day:path}",
    response_model=models.ReconciledDay,
    responses=errors(404),
)
def reconciliation(board: TheBoard, provider: str, day: str) -> Any:
    """One day of a provider, with its differences."""
    row = reconciliations.find(board.store, provider, day)
    if row is None:
        raise HTTPException(404, "no such day")
    return row


@_lists.get("/dead-letters", response_model=models.page_of("dead_letters", models.DeadLetter))
def list_dead_letters(board: TheBoard, query: Annotated[parameters.DeadLetterPage, Query()]) -> Any:
    """The records that no rule understands, the newest first."""
    page = dead_letters.search(
        board.store, query.filter(), show=query.show, limit=query.limit, after=query.after()
    )
    return {"dead_letters": page.rows, "next": format_cursor(page.next)}


@router.get(
    "/dead-letters/{partition:nr}/{offset:nr}",
    response_model=models.DeadLetter,
    responses=errors(404),
)
def dead_letter(board: TheBoard, partition: Place, offset: Place) -> Any:
    """One dead letter."""
    row = dead_letters.find(board.store, partition, offset)
    if row is None:
        raise HTTPException(404, "no such dead letter")
    return row


@router.get("/processes", response_model=models.Processes)
def processes(board: TheBoard) -> Any:
    """The health of the processes that BOARD__PROCESSES names."""
    return {"processes": board.monitor.processes}


@router.get("/stream", response_class=EventStream, status_code=200)
async def stream(board: TheBoard) -> Response:
    """Server-sent events: every status change, without end."""
    if board.hub.is_full():
        raise HTTPException(503, "too many clients listen; try again later", RETRY_AFTER)
    return EventStream(board.hub)


router.include_router(_lists)
