"""A board that is killed at any moment neither loses nor repeats a row."""

import signal
import subprocess
import sys
from contextlib import closing

import pytest
from sqlalchemy import text

from connectors.board.database.store import Store
from connectors.kafka.cluster import Cluster
from schemas import topics
from tests.connectors.board.conftest import EACH_DATABASE, NewDatabase, config, following
from tests.connectors.board.mortal import POINTS
from tests.connectors.board.samples import Make
from tests.connectors.board.test_materializer import put
from tests.support.waiting import until_threaded

pytestmark = [pytest.mark.kafka, pytest.mark.slow, EACH_DATABASE]

# The trigger records every write, also one that a row already there makes ineffective.
_RECORD_WRITES = {
    "sqlite": [
        "CREATE TABLE written (event_id TEXT)",
        "CREATE TRIGGER record_it BEFORE INSERT ON anomalies "
        "BEGIN INSERT INTO written VALUES (NEW.event_id); END",
    ],
    "postgresql": [
        "CREATE TABLE written (event_id TEXT)",
        "CREATE FUNCTION record_it() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN INSERT INTO written VALUES (NEW.event_id); RETURN NEW; END'",
        "CREATE TRIGGER record_it BEFORE INSERT ON anomalies FOR EACH ROW "
        "EXECUTE FUNCTION record_it()",
    ],
}


def record_writes(kind: str, url: str) -> None:
    with closing(Store(url)) as store, store.engine.begin() as connection:
        for statement in _RECORD_WRITES[kind]:
            connection.execute(text(statement))


def written(url: str) -> list[str]:
    with closing(Store(url)) as store, store.reading() as connection:
        return sorted(connection.scalars(text("SELECT event_id FROM written")))


def run_until_killed(cluster: Cluster, url: str, point: str) -> None:
    command = [sys.executable, "-m", "tests.connectors.board.mortal"]
    process = subprocess.run(
        [*command, cluster.brokers, cluster.prefix, url, point], check=False, timeout=60
    )
    assert process.returncode == -signal.SIGKILL


@pytest.mark.long
async def test_killed_board_writes_every_row_once(
    kind: str, new_database: NewDatabase, kafka: Cluster, make: Make
) -> None:
    url = new_database()
    record_writes(kind, url)
    first, second = [f"a{n:02}" for n in range(20)], [f"b{n:02}" for n in range(20)]
    await put(kafka, topics.ANOMALIES, *map(make.anomaly, first))
    for point in POINTS:
        assert written(url) == []
        run_until_killed(kafka, url, point)
    assert written(url) == first
    await put(kafka, topics.ANOMALIES, *map(make.anomaly, second))
    run_until_killed(kafka, url, "positions")
    async with following(config(url, kafka)) as board:
        positions = board.store.positions
        await until_threaded(lambda: positions().get(("anomalies", 0)) == 40, "all records")
    assert written(url) == first + second
