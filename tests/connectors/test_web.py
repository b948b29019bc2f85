"""Edge and board in one process: the board's failures do not reach the edge."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from connectors import web
from connectors.board.board import Board, BoardConfig
from connectors.board.database.engine import BadUrl
from connectors.board.database.store import StoreUnavailable
from connectors.http.access import TokenNeeded
from connectors.http.server import Address, http_server, probes
from connectors.kafka.cluster import Cluster
from connectors.web import BoardBesideEdge, application, check
from tests.support.codecs import CODECS
from tests.support.edge import an_edge
from tests.support.fakes import FakePublisher
from tests.support.waiting import until

LINK = {"provider": "acme", "link_id": "l1"}


def config(database_url: str, host: str = "127.0.0.1") -> BoardConfig:
    return BoardConfig(Cluster("127.0.0.1:1"), CODECS, ("acme",), database_url, Address(host, 0))


class Process:
    """The process, without Kafka: its clients, the edge's records, and the board."""

    def __init__(self, client: httpx.AsyncClient, shelf: FakePublisher, board: BoardBesideEdge):
        self.client, self.shelf, self.board = client, shelf, board

    async def statuses(self) -> list[int]:
        """The statuses of a callback, a registration, both probes and a page of the board."""
        client = self.client
        return [
            (await client.post("/callbacks/acme", content=b"link-1")).status_code,
            (await client.post("/links", json=LINK)).status_code,
            (await client.get("/readyz")).status_code,
            (await client.get("/readyz/board")).status_code,
            (await client.get("/links")).status_code,
        ]


@asynccontextmanager
async def running(board_config: BoardConfig) -> AsyncIterator[Process]:
    shelf = FakePublisher()
    edge = an_edge(shelf)
    board = BoardBesideEdge(board_config, edge)
    routes = probes(lambda: None, board=board.why_not)
    server = http_server(application(edge, board, routes), Address("127.0.0.1", 0))
    serving = asyncio.create_task(server.serve())
    following = asyncio.create_task(board.run(server))
    await until(lambda: server.started, "the server")
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            yield Process(client, shelf, board)
    finally:
        server.should_exit = True
        following.cancel()
        await asyncio.gather(serving, following, return_exceptions=True)


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "_FIRST_PAUSE", 0.01)
    monkeypatch.setattr(web, "_LONGEST_PAUSE", 0.01)


@pytest.mark.usefixtures("fast")
async def test_b2_edge_answers_while_the_database_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = True

    class Opened(Board):
        def __init__(self, board_config: BoardConfig) -> None:
            if away:
                raise StoreUnavailable("the database does not answer")
            super().__init__(board_config)

    monkeypatch.setattr(web, "Board", Opened)
    async with running(config(f"sqlite:///{tmp_path / 'board.sqlite'}")) as process:
        await until(lambda: "does not answer" in str(process.board.why_not()), "a failed opening")
        assert await process.statuses() == [200, 202, 200, 503, 503]
        away = False
        await until(lambda: "Kafka" in str(process.board.why_not()), "the board")
        assert await process.statuses() == [200, 202, 200, 503, 200]
    assert len(process.shelf.records) == 4


@pytest.mark.usefixtures("fast")
async def test_b2_edge_answers_while_the_board_fails_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = 0

    class Failing(Board):
        async def follow(self, end_process: bool = True) -> None:
            nonlocal failures
            failures += 1
            raise AttributeError("'NoneType' object has no attribute 'decode'")

    monkeypatch.setattr(web, "Board", Failing)
    async with running(config(f"sqlite:///{tmp_path / 'board.sqlite'}")) as process:
        await until(lambda: failures > 3, "failures")
        assert "NoneType" in str(process.board.why_not())
        # What is in the database can be read all the same.
        assert await process.statuses() == [200, 202, 200, 503, 200]


async def test_slow_board_leaves_the_connections_to_the_edge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "BOARD_REQUESTS", 3)
    stuck = asyncio.Event()
    waiting = 0

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        nonlocal waiting
        waiting += 1
        await stuck.wait()

    monkeypatch.setattr(web, "site", lambda *_: slow)
    async with running(config(f"sqlite:///{tmp_path / 'board.sqlite'}")) as process:
        await until(lambda: "Kafka" in str(process.board.why_not()), "the board")
        pages = [asyncio.create_task(process.client.get("/links")) for _ in range(3)]
        await until(lambda: waiting == 3, "three requests")
        answer = await process.client.get("/links")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert (await process.client.post("/callbacks/acme", content=b"x")).status_code == 200
        for page in pages:
            page.cancel()
        await asyncio.gather(*pages, return_exceptions=True)


def test_wrong_settings_of_the_board_stop_the_start(tmp_path: Path) -> None:
    with pytest.raises(BadUrl, match="LINKSTATUS_DATABASE_URL"):
        check(config("mysql://host/name"))
    with pytest.raises(TokenNeeded):
        check(config(f"sqlite:///{tmp_path / 'board.sqlite'}", "0.0.0.0"))
