"""The board: the topics in SQL, a query API, a live page and the schema look-ups.

`run_board` is a process of its own; `open_board` and `routes` let another process serve it too.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial

import uvicorn
from starlette.applications import Starlette
from starlette.convertors import IntegerConvertor, register_url_convertor
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from connectors import noting, process
from connectors.board import cancelling, registry, stream
from connectors.board.access import Access, TokenNeeded
from connectors.board.acts import Acts
from connectors.board.api import Api, UnavailableAs503
from connectors.board.guard import Guard, SecurityHeaders, sign_in, sign_out
from connectors.board.handling import Handling
from connectors.board.health import Watch
from connectors.board.materialize import Materializer
from connectors.board.matters import Anomalies, Letters
from connectors.board.now import Now
from connectors.board.pages import STATIC, Pages, wants_page
from connectors.board.raw import RawRecords
from connectors.board.replaying import Replays
from connectors.board.store import Store, StoreUnavailable
from connectors.board.views import Sources, Views
from connectors.kafka import Cluster
from connectors.provider import Provider

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
# Somebody waits for the page.
_NOTE_SECONDS = 5.0
_CANCEL = "/links/{provider}/{link_id:path}/cancel"


@dataclass(frozen=True, slots=True)
class BoardConfig:
    """What the board needs: `database_url` is SQLAlchemy's, `token` opens it off loopback and lets
    act; `processes` are the addresses of those whose health it shows.
    """

    cluster: Cluster
    providers: tuple[str, ...]
    database_url: str
    address: process.Address
    token: str | None = field(default=None, repr=False)
    # Whether `/registry` names subjects: not beside a registry of another's.
    registry: bool = True
    processes: Mapping[str, str] = field(default_factory=dict)
    # Those who may be asked to cancel a link, and how long they may take to answer.
    apis: Mapping[str, Provider] = field(default_factory=dict)
    answer_seconds: float = 10.0


@dataclass(frozen=True, slots=True)
class Board:
    """An opened board: serve `routes(board)`; run `follow` and `end_streams` as services."""

    config: BoardConfig
    access: Access
    store: Store
    hub: stream.Hub
    materializer: Materializer
    watch: Watch

    async def follow(self) -> None:
        """Keeps the store up to date and looks after the processes, forever."""
        watching = asyncio.create_task(self.watch.run())
        try:
            await self.materializer.run()
        finally:
            watching.cancel()
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
    materializer = Materializer(config.cluster, store, hub)
    return Board(config, access, store, hub, materializer, Watch(config.processes))


Endpoint = Callable[[Request], Awaitable[Response]]


def routes(board: Board) -> list[BaseRoute]:
    """The board's routes, each behind its access rules; probes are not among them."""
    pages = Pages()
    guard = [
        Middleware(Guard, access=board.access, pages=pages),
        Middleware(UnavailableAs503, pages=pages),
    ]
    return [
        Route("/sign-in", sign_in(board.access, pages), methods=["GET", "POST"]),
        Route("/sign-out", sign_out, methods=["POST"]),
        Mount("/static", StaticFiles(directory=STATIC), middleware=guard),
        *(
            Route(path, endpoint, methods=[method], middleware=guard)
            for (method, path), endpoint in _endpoints(board, pages).items()
        ),
    ]


def _endpoints(board: Board, pages: Pages) -> dict[tuple[str, str], Endpoint]:
    cluster, providers = board.config.cluster, board.config.providers
    now = Now(board.store, providers, board.watch, board.why_not)
    api = Api(board.store, providers, board.watch, now)
    sources = Sources(
        store=board.store,
        providers=providers,
        access=board.access,
        watch=board.watch,
        raw=RawRecords(cluster),
        replays=Replays(cluster),
        cancels=cancelling.Cancels(
            board.config.apis,
            board.config.answer_seconds,
            lambda notice: noting.keep(cluster, [notice], _NOTE_SECONDS),
        ),
        now=now,
    )
    views = Views(pages, sources)
    acts = Acts(views)
    handling = Handling(views, partial(noting.keep, cluster), Anomalies())
    sorting = Handling(views, partial(noting.keep, cluster), Letters())
    reading: dict[str, Endpoint] = {
        "/": _either(views.overview, api.now),
        "/links": _either(views.links, api.links),
        _CANCEL: acts.ask_cancel,
        "/links/{provider}/{link_id:path}": _either(views.link, api.link),
        "/orders": _either(views.orders, api.orders),
        "/orders/{provider}/{order_id:path}": _either(views.order, api.order),
        "/anomalies": _either(views.anomalies, api.anomalies),
        "/anomalies/done": handling.ask,
        "/notices": _either(views.notices, api.notices),
        "/dead-letters": _either(views.dead_letters, api.dead_letters),
        "/dead-letters/replay": acts.ask,
        "/dead-letters/aside": sorting.ask,
        "/dead-letters/{partition:nr}/{offset:nr}": _either(views.dead_letter, api.dead_letter),
        "/processes": _either(views.processes, api.processes),
        "/stream": stream.endpoint(board.hub),
        **registry.ids(),
        **(registry.subjects(providers, cluster.prefix) if board.config.registry else {}),
    }
    return {
        **{("GET", path): endpoint for path, endpoint in reading.items()},
        ("POST", "/dead-letters/replay"): acts.replay,
        ("POST", _CANCEL): acts.cancel,
        ("POST", "/anomalies/done"): handling.done,
        ("POST", "/anomalies/open"): handling.reopen,
        ("POST", "/dead-letters/aside"): sorting.done,
        ("POST", "/dead-letters/open"): sorting.reopen,
        # The last of all: what nobody has.
        ("GET", "/{rest:path}"): views.nowhere,
    }


class _Number(IntegerConvertor):
    """A number that Kafka may have: of one with thousands of digits Python makes none."""

    regex = "[0-9]{1,18}"


register_url_convertor("nr", _Number())


def _either(page: Endpoint, data: Endpoint) -> Endpoint:
    """The page for browsers, the data for programs, at one address."""

    async def endpoint(request: Request) -> Response:
        answer = await (page if wants_page(request) else data)(request)
        answer.headers["Vary"] = "Accept"
        return answer

    return endpoint


def application(board: Board, probes: Iterable[BaseRoute]) -> Starlette:
    """The board alone, with its probes open to everybody."""
    return Starlette(routes=[*probes, *routes(board)], middleware=[Middleware(SecurityHeaders)])


async def run_board(config: BoardConfig) -> None:
    """The board as a process, until a signal ends it."""
    board = open_board(config)
    app = application(board, process.probes(board.why_not))
    server = process.http_server(app, config.address)
    await process.run(server, [board.follow, partial(board.end_streams, server)])
