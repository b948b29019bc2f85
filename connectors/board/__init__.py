"""The board: the topics in SQL, a query API, a live page and the schema look-ups.

`run_board` is a process of its own; `open_board` and `routes` let another process serve it too.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from connectors import process
from connectors.board import registry, stream
from connectors.board.access import Access, Guard, SecurityHeaders, TokenNeeded
from connectors.board.api import Api, UnavailableAs503
from connectors.board.materialize import Materializer
from connectors.board.page import STATIC, FirstPage
from connectors.board.store import Store, StoreUnavailable
from connectors.kafka import Cluster

__all__ = [
    "Access",
    "Board",
    "BoardConfig",
    "SecurityHeaders",
    "StoreUnavailable",
    "TokenNeeded",
    "open_board",
    "routes",
    "run_board",
]

_STOP_SEEN_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class BoardConfig:
    """What the board needs: `database_url` is SQLAlchemy's, `token` opens it off loopback."""

    cluster: Cluster
    providers: tuple[str, ...]
    database_url: str
    address: process.Address
    token: str | None = None
    # Whether `/registry` is served: not beside a registry of another's.
    registry: bool = True


@dataclass(frozen=True, slots=True)
class Board:
    """An opened board: serve `routes(board)`; run `follow` and `end_streams` as services."""

    config: BoardConfig
    access: Access
    store: Store
    hub: stream.Hub
    materializer: Materializer

    async def follow(self) -> None:
        """Keeps the store up to date, forever. Raises StoreUnavailable when the database fails."""
        try:
            await self.materializer.run()
        finally:
            self.store.close()

    def why_not(self) -> str | None:
        """Why the board is not up to date, or None."""
        return self.materializer.why_not()

    async def end_streams(self, server: uvicorn.Server) -> None:
        """Ends the live streams when `server` is told to stop: it would wait for them."""
        while not server.should_exit:
            await asyncio.sleep(_STOP_SEEN_SECONDS)
        self.hub.close()


def open_board(config: BoardConfig) -> Board:
    """Checks access and opens the database. Raises TokenNeeded, StoreUnavailable."""
    access = Access(config.address.host, config.token)
    store = Store(config.database_url)
    hub = stream.Hub()
    return Board(config, access, store, hub, Materializer(config.cluster, store, hub))


def routes(board: Board) -> list[BaseRoute]:
    """The board's routes, each behind its access rules; probes are not among them."""
    guard = [Middleware(Guard, access=board.access), Middleware(UnavailableAs503)]
    api = Api(board.store, board.config.providers)
    page = FirstPage(board.store, board.config.providers)
    schemas = registry.endpoints(board.config.providers, board.config.cluster.prefix)
    endpoints = {
        "/": page.show,
        "/links": api.links,
        "/links/{provider}/{link_id:path}": api.link,
        "/orders/{provider}/{order_id:path}": api.order,
        "/anomalies": api.anomalies,
        "/dead-letters": api.dead_letters,
        "/stream": stream.endpoint(board.hub),
        **(schemas if board.config.registry else {}),
    }
    return [
        *(Route(path, endpoint, middleware=guard) for path, endpoint in endpoints.items()),
        Mount("/static", StaticFiles(directory=STATIC), middleware=guard),
    ]


def application(board: Board, probes: Iterable[BaseRoute]) -> Starlette:
    """The board alone, with its probes open to everybody."""
    return Starlette(routes=[*probes, *routes(board)], middleware=[Middleware(SecurityHeaders)])


async def run_board(config: BoardConfig) -> None:
    """The board as a process, until a signal ends it."""
    board = open_board(config)
    app = application(board, process.probes(board.why_not))
    server = process.http_server(app, config.address)
    await process.run(server, [board.follow, partial(board.end_streams, server)])
