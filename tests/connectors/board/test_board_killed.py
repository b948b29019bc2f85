"""A board killed at any moment neither loses nor repeats a row: positions go with the rows."""

import signal
import subprocess
import sys
from contextlib import closing

import pytest
from sqlalchemy import text

from connectors.board.store import Store
from connectors.kafka import Cluster
from schemas import topics
from tests.connectors.board.conftest import EACH_DATABASE, NewDatabase
from tests.connectors.board.mortal import POINTS
from tests.connectors.board.samples import Make
from tests.connectors.board.test_board_kafka import encoded, following, put, until

pytestmark = [pytest.mark.kafka, pytest.mark.slow, EACH_DATABASE]

# What is written is counted even where a row that is there already makes it come to nothing.
_COUNTING = {
    "sqlite": [
        "CREATE TABLE written (event_id TEXT)",
        "CREATE TRIGGER counting BEFORE INSERT ON anomalies "
        "BEGIN INSERT INTO written VALUES (NEW.event_id); END",
    ],
    "postgresql": [
        "CREATE TABLE written (event_id TEXT)",
        "CREATE FUNCTION count_it() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN INSERT INTO written VALUES (NEW.event_id); RETURN NEW; END'",
        "CREATE TRIGGER counting BEFORE INSERT ON anomalies FOR EACH ROW "
        "EXECUTE FUNCTION count_it()",
    ],
}


def count_writes(kind: str, url: str) -> None:
    with closing(Store(url)) as store, store.engine.begin() as connection:
        for statement in _COUNTING[kind]:
            connection.execute(text(statement))


def written(url: str) -> list[str]:
    with closing(Store(url)) as store, store.reading() as connection:
        return sorted(connection.scalars(text("SELECT event_id FROM written")))


def live_and_die(cluster: Cluster, url: str, point: str) -> None:
    command = [sys.executable, "-m", "tests.connectors.board.mortal"]
    ended = subprocess.run(
        [*command, cluster.brokers, cluster.prefix, url, point], check=False, timeout=60
    )
    assert ended.returncode == -signal.SIGKILL


async def put_anomalies(cluster: Cluster, make: Make, names: list[str]) -> None:
    await put(
        cluster, topics.ANOMALIES, *encoded(topics.ANOMALIES, *(make.anomaly(n) for n in names))
    )


async def test_what_a_killed_board_was_writing_is_written_once(
    kind: str, new_database: NewDatabase, kafka: Cluster, make: Make
) -> None:
    url = new_database()
    count_writes(kind, url)
    first, second = [f"a{n:02}" for n in range(20)], [f"b{n:02}" for n in range(20)]
    await put_anomalies(kafka, make, first)
    for point in POINTS:
        assert written(url) == []
        live_and_die(kafka, url, point)
    assert written(url) == first
    await put_anomalies(kafka, make, second)
    live_and_die(kafka, url, "positions")
    async with following(kafka, url) as board:
        await until(lambda: board.store.positions().get(("anomalies", 0)) == 40)
    assert written(url) == first + second
