"""A store of the test's own, on each database, and the board over it without Kafka."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from connectors.board import Board, BoardConfig, application, open_board
from connectors.board.store import Store
from connectors.board.tables import metadata
from connectors.kafka import Cluster
from connectors.process import Address
from tests.connectors.board.samples import Make
from tests.postgres import NoPostgres, Postgres

PROVIDERS = ("ping", "peach", "truelayer", "ipint")
TOKEN = "s3cret-token"


@pytest.fixture
def make() -> Make:
    return Make()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The run's own PostgreSQL."""
    server = None
    try:
        server = Postgres()
        yield server.start()
    except NoPostgres as error:
        pytest.skip(str(error))
    finally:
        if server:
            server.stop()


NewDatabase = Callable[[], str]


@pytest.fixture
def new_database(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> NewDatabase:
    """Makes an empty database and returns its address."""
    if kind == "postgresql":
        server: Postgres = request.getfixturevalue("postgres")
        return lambda: server.url(server.database())
    names = iter(range(1000))
    return lambda: f"sqlite:///{tmp_path / f'new-{next(names)}.sqlite'}"


@pytest.fixture(scope="session")
def shared_postgres(postgres: Postgres) -> str:
    """One database for many tests: making one takes longer than most of them."""
    return postgres.url(postgres.database())


@pytest.fixture
def kind() -> str:
    """The database of a test: `sqlite`, or what `EACH_DATABASE` says."""
    return "sqlite"


EACH_DATABASE = pytest.mark.parametrize("kind", ["sqlite", "postgresql"])


@pytest.fixture
def database_url(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database without rows."""
    if kind == "sqlite":
        return f"sqlite:///{tmp_path / 'board.sqlite'}"
    url: str = request.getfixturevalue("shared_postgres")
    with closing(Store(url)) as store:
        empty(store)
    return url


def empty(store: Store) -> None:
    with store.engine.begin() as connection:
        for table in metadata.sorted_tables:
            connection.execute(table.delete())


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
