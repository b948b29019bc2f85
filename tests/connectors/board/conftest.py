"""A store of the test's own, on each database, and the board over it without Kafka."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from starlette.routing import BaseRoute

from connectors.board.board import Board, BoardConfig
from connectors.board.database.store import Store
from connectors.board.database.tables import metadata
from connectors.board.feed import raw_records
from connectors.board.process import application
from connectors.http.access import COOKIE, Access
from connectors.http.server import Address
from connectors.kafka.cluster import Cluster
from schemas import topics
from schemas.topics import Topic
from tests.connectors.board.samples import Make, save
from tests.support.codecs import CODECS
from tests.support.postgres import NoPostgres, Postgres

PROVIDERS = ("ping", "peach", "truelayer", "ipint")
NO_CLUSTER = Cluster("127.0.0.1:1")
TOKEN = "s3cret-token"
SECRET = SecretStr(TOKEN)
HERE = "http://127.0.0.1:8080"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
SIGNED_IN = {"Cookie": f"{COOKIE}={Access('127.0.0.1', SECRET).cookie()}"}
READING = {"Accept": "text/html"}
BROWSER = SIGNED_IN | READING
OWN_PAGE = BROWSER | {"Origin": HERE}


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


def config(
    database_url: str,
    cluster: Cluster = NO_CLUSTER,
    *,
    host: str = "127.0.0.1",
    token: SecretStr | None = SECRET,
    **more: Any,
) -> BoardConfig:
    more = {"codecs": CODECS, "address": Address(host, 0), **more}
    return BoardConfig(cluster, providers=PROVIDERS, database_url=database_url, token=token, **more)


@contextmanager
def opened_board(config: BoardConfig) -> Iterator[Board]:
    """A board that does not follow its topics."""
    board = Board(config)
    with closing(board.store), pytest.MonkeyPatch.context() as patch:
        # It does not wait for raw records.
        patch.setattr(raw_records, "_POLL_SECONDS", 0.01)
        yield board


@asynccontextmanager
async def following(config: BoardConfig) -> AsyncIterator[Board]:
    """A board that follows its topics."""
    board = Board(config)
    task = asyncio.create_task(board.follow())
    try:
        yield board
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def client_of(
    board: Board,
    url: str = HERE,
    probes: Sequence[BaseRoute] = (),
    client: tuple[str, int] = ("127.0.0.1", 1),
) -> httpx.AsyncClient:
    """A client of the board, at this address, without a server."""
    transport = httpx.ASGITransport(application(board, probes), client=client)
    return httpx.AsyncClient(transport=transport, base_url=url)


class Site:
    """A board: what is put into its store, and what its clients get."""

    def __init__(self, board: Board, client: httpx.AsyncClient) -> None:
        self.store = board.store
        self.client = client
        self.make = Make()

    def put(self, topic: Topic[Any], *records: Any) -> None:
        """Store the records as if they came from the topic."""
        save(self.store, [self.make.message(topic, record) for record in records])

    def put_dead_letters(self, *reasons: str, body: bytes | None = b"x") -> None:
        stage = {"stage": "normalize", "origin": "callbacks.ping/0/7"}
        letters = [{**stage, "reason": reason} for reason in reasons]
        save(self.store, [self.make.raw(topics.DEAD_LETTERS, body, each) for each in letters])

    async def get(self, path: str, status: int = 200) -> Any:
        """What a program gets."""
        answer = await self.client.get(path)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def page(self, path: str, status: int = 200, headers: Any = READING) -> str:
        """What a browser gets."""
        answer = await self.client.get(path, headers=headers)
        assert answer.status_code == status, path
        assert answer.headers["content-type"].startswith("text/html")
        return answer.text

    async def post(self, path: str, **form: str) -> Any:
        """What a program with the token gets."""
        answer = await self.client.post(path, json=form, headers=BEARER)
        return answer.raise_for_status().json()


@pytest.fixture
def board(database_url: str) -> Iterator[Board]:
    with opened_board(config(database_url)) as board:
        yield board


@pytest.fixture
def store(board: Board) -> Store:
    return board.store


@pytest.fixture
async def client(board: Board) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(board) as client:
        yield client


@pytest.fixture
def site(board: Board, client: httpx.AsyncClient) -> Site:
    return Site(board, client)
