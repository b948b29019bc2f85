"""The query API: JSON for programs."""

import itertools
import logging
from collections.abc import Generator, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from starlette.convertors import IntegerConvertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from connectors.board import lists, models
from connectors.board.board import Board
from connectors.board.database import (
    dead_letters,
    deliveries,
    links,
    orders,
    reconciliations,
    waiting_orders,
)
from connectors.board.database.figures import stage
from connectors.board.exports import EXPORTS, Busy, Export, lines
from connectors.board.feed.live_events import EventStream
from connectors.board.http import parameters
from connectors.board.http.cursor import format_cursor
from connectors.board.overview.money import overview as overview_of_money
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


@_lists.get("/links", response_model=models.page_of("links", models.ListedLink))
def list_links(board: TheBoard, query: Annotated[parameters.LinkPage, Query()]) -> Any:
    """The links, the newest first, each with the reason why its order is not closed."""
    page = lists.page(lists.of_links, board, query)
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
    received = deliveries.of_link(board.store, provider, link_id)
    return {**row.status, **parts, "waiting": waiting, "deliveries": received}


@_lists.get("/orders", response_model=models.page_of("orders", models.ListedOrder))
def list_orders(board: TheBoard, query: Annotated[parameters.OrderPage, Query()]) -> Any:
    """The orders, the newest first, each with the reason why it is not closed."""
    page = lists.page(lists.of_orders, board, query)
    return {"orders": page.rows, "next": format_cursor(page.next)}


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
        "stage": stage(row.status),
    }


@_lists.get("/anomalies", response_model=models.page_of("anomalies", models.Anomaly))
def list_anomalies(board: TheBoard, query: Annotated[parameters.AnomalyPage, Query()]) -> Any:
    """What a person should see, the newest first."""
    page = lists.page(lists.of_anomalies, board, query)
    return {"anomalies": page.rows, "next": format_cursor(page.next)}


@_lists.get("/notices", response_model=models.page_of("notices", models.NoticeWithAnswer))
def list_notices(board: TheBoard, query: Annotated[parameters.NoticePage, Query()]) -> Any:
    """What does not concern a link's status, and what people did; the newest first."""
    page = lists.page(lists.of_notices, board, query)
    return {"notices": page.rows, "next": format_cursor(page.next)}


@_lists.get(
    "/reconciliations", response_model=models.page_of("reconciliations", models.ReconciledDay)
)
def list_reconciliations(
    board: TheBoard, query: Annotated[parameters.ReconciliationPage, Query()]
) -> Any:
    """What each provider paid out on a day, against what was closed; the latest day first."""
    page = lists.page(lists.of_reconciliations, board, query)
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


@_lists.get("/money", response_model=models.Money)
def money(board: TheBoard, query: Annotated[parameters.MoneyFilter, Query()]) -> Any:
    """Where the money is: by currency and day, and success by provider."""
    return overview_of_money(board.store, query, board.overview.kinds)


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


_CSV: dict[str, Any] = {
    "description": "CSV",
    "content": {"text/csv": {"schema": {"type": "string"}}},
}


class _Csv(StreamingResponse):
    def __init__(self, first: Sequence[str], parts: Generator[str], file: str) -> None:
        headers = {"Content-Disposition": f'attachment; filename="{file}"'}
        super().__init__(itertools.chain(first, parts), headers=headers, media_type="text/csv")
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._parts.close()  # the client may have left


def _export(name: str, export: Export) -> None:
    """Add the list as CSV."""

    def endpoint(board: TheBoard, query: Annotated[export.query, Query()]) -> Response:  # type: ignore[name-defined]
        parts = lines(board, export, query)
        try:
            # What fails before the first row is an answer of its own.
            first = [next(parts), next(parts)]
        except Busy:
            raise HTTPException(503, "too many exports run; try again later", RETRY_AFTER) from None
        file = f"linkstatus-{name}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.csv"
        return _Csv(first, parts, file)

    endpoint.__name__ = f"export_{name.replace('-', '_')}"
    endpoint.__doc__ = f"All rows of `/{name}` as CSV (UTF-8), as they are at one moment."
    _lists.get(f"/{name}.csv", response_class=_Csv, status_code=200, responses={200: _CSV})(
        endpoint
    )


for _name, _of_list in EXPORTS.items():
    _export(_name, _of_list)


@router.get("/stream", response_class=EventStream, status_code=200)
async def stream(board: TheBoard) -> Response:
    """Server-sent events: every status change, without end."""
    if board.hub.is_full():
        raise HTTPException(503, "too many clients listen; try again later", RETRY_AFTER)
    return EventStream(board.hub)


router.include_router(_lists)
