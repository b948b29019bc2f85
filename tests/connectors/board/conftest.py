"""A store of the test's own, and the board over it without Kafka."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from connectors.board import Board, BoardConfig, application, open_board
from connectors.board.store import Store
from connectors.kafka import Cluster
from connectors.process import Address
from tests.connectors.board.samples import Make

PROVIDERS = ("ping", "peach", "truelayer", "ipint")
TOKEN = "s3cret-token"


@pytest.fixture
def make() -> Make:
    return Make()


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'board.sqlite'}"


@pytest.fixture
def board(database_url: str) -> Iterator[Board]:
    """A board on loopback that follows no cluster."""
    config = BoardConfig(
        Cluster("127.0.0.1:1"), PROVIDERS, database_url, Address("127.0.0.1", 0), TOKEN
    )
    board = open_board(config)
    yield board
    board.store.close()


@pytest.fixture
def store(board: Board) -> Store:
    return board.store


@pytest.fixture
async def client(board: Board) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(application(board, []))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as client:
        yield client
