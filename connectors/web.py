"""`linkstatus web`: the edge and the board in one process on one port. `linkstatus up` runs it.

The edge does not share the board's fate: while the board cannot be opened, fails or is slow, the
edge goes on, and `/readyz` is the edge's alone. `/readyz/board` is the board's.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import uvicorn
from prometheus_client import Counter
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from connectors.backoff import backoff
from connectors.board.board import Board, BoardConfig
from connectors.board.database.engine import parse_url
from connectors.board.database.store import StoreUnavailable
from connectors.board.http.security_headers import SecurityHeaders
from connectors.board.routes import site
from connectors.http.access import Access
from connectors.http.api import RETRY_AFTER, Guard, create_api, error_response
from connectors.http.server import http_server, in_front, probes, run
from connectors.reasons import reason_of
from connectors.receive import process as receive
from connectors.receive.process import Edge, ReceiveConfig
from schemas.limits import BOARD_REQUESTS

log = logging.getLogger(__name__)
_FAILURES = Counter("linkstatus_board_failures_total", "Failures of the board beside the edge")
_BUSY = Counter(
    "linkstatus_board_busy_total", "Requests refused because the board has too many in progress"
)
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
# After so long the next failure counts as the first.
_STABLE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class WebConfig:
    """The configuration of both; the address is the edge's."""

    receive: ReceiveConfig
    board: BoardConfig


class BoardBesideEdge:
    """The board as an application and a service of the edge's process. It is opened, and runs again
    after a failure, while the edge goes on.
    """

    def __init__(self, config: BoardConfig, edge: Edge) -> None:
        self._config = config
        self._edge = edge
        self._without_board = Guard(create_api(receive.router(edge)), edge.access)
        self._board: Board | None = None
        self._site: ASGIApp | None = None
        self._trouble: str | None = "the board is being opened"
        self._requests = 0

    def why_not(self) -> str | None:
        """Why the board is not up to date, or None."""
        return self._trouble or (self._board.why_not() if self._board else None)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/links" and scope["method"] == "POST":
            await (self._site or self._without_board)(scope, receive, send)
        elif self._site is None:
            message = "the board cannot answer now, /readyz/board says why; try again later"
            await error_response(503, message, headers=RETRY_AFTER)(scope, receive, send)
        elif self._requests >= BOARD_REQUESTS:
            _BUSY.inc()
            message = "the board has too many requests in progress; try again later"
            await error_response(503, message, headers=RETRY_AFTER)(scope, receive, send)
        else:
            self._requests += 1
            try:
                await self._site(scope, receive, send)
            finally:
                self._requests -= 1

    async def run(self, server: uvicorn.Server) -> None:
        """Open the board, and run it until `server` stops. Never ends by itself."""
        failures = 0
        while True:
            started = time.monotonic()
            try:
                await self._run_once(server)
            except StoreUnavailable as error:
                log.warning("board: %s", error)
                self._trouble = str(error)
            except Exception as error:  # whatever it is, the edge goes on
                log.exception("board: failed")
                self._trouble = f"the board failed, and starts again: {reason_of(error)}"
            _FAILURES.inc()
            failures = 1 if time.monotonic() - started > _STABLE_SECONDS else failures + 1
            await asyncio.sleep(backoff(failures, _FIRST_PAUSE, _LONGEST_PAUSE))

    async def _run_once(self, server: uvicorn.Server) -> None:
        board = self._board
        if board is None:
            # In a thread: the database may be away, or be migrated.
            board = await asyncio.to_thread(self._open)
        self._trouble = None
        ending = asyncio.create_task(board.end_streams(server))
        try:
            # The edge goes on: a stall starts only the board again.
            await board.follow(end_process=False)
        finally:
            ending.cancel()

    def _open(self) -> Board:
        board = Board(self._config)
        self._site = site(board, receive.router(self._edge))
        self._board = board
        return board


def application(edge: Edge, board: ASGIApp, probes: Sequence[BaseRoute]) -> ASGIApp:
    """The edge and the board, under the same access rules."""
    return receive.with_callbacks(edge, SecurityHeaders(in_front(probes, board)))


async def run_web(config: WebConfig) -> None:
    """Serve the edge and the board until a signal ends the process. Raises TokenNeeded,
    BadUrl if the board's URL or token cannot work.
    """
    check(config.board)
    async with receive.opened(config.receive) as (edge, publisher):
        board = BoardBesideEdge(config.board, edge)
        routes = probes(publisher.why_not_ready, board=board.why_not)
        app, address = application(edge, board, routes), config.receive.address
        server = http_server(app, address, refused=edge.count_refusal)
        publish = partial(receive.publish, edge, publisher)
        await run(server, [publish, lambda: board.run(server)])


def check(config: BoardConfig) -> None:
    """Raise TokenNeeded or BadUrl if the board could never be opened."""
    Access(config.address.host, config.token).require_token()
    parse_url(config.database_url)
