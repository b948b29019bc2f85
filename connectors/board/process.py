"""`linkstatus board`: the topics in SQL, a query API, a live page and the schema look-ups."""

from collections.abc import Sequence
from functools import partial

from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from connectors.board.board import Board, BoardConfig
from connectors.board.http.security_headers import SecurityHeaders
from connectors.board.routes import site
from connectors.http.server import http_server, in_front, probes, run


def application(board: Board, probes: Sequence[BaseRoute]) -> ASGIApp:
    """The board alone, with its probes open to all."""
    return SecurityHeaders(in_front(probes, site(board)))


async def run_board(config: BoardConfig) -> None:
    """Serve the board until a signal ends it. Raises TokenNeeded, StoreUnavailable."""
    board = Board(config)
    server = http_server(
        application(board, probes(board.why_not, board=board.why_not)), config.address
    )
    await run(server, [board.follow, partial(board.end_streams, server)])
