"""A full disk or a folder that cannot be written: a clear error, and nothing lost.

A limit on the size of files stands for the full disk: it needs no rights and no disk of its own.
"""

import asyncio
import contextlib
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from connectors.kafka import Cluster
from connectors.publish import Publisher, Unavailable
from schemas.topics import LINKS
from streams import admin, child
from streams.embedded import Broker
from tests.chaos.system import ROOT
from tests.reading import read_all
from tests.waiting import PATIENCE, until

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.alone]

# More than the 10 MB that the broker takes at once for the index of a partition.
_FULL_AT = 11 << 20
_BODY = os.urandom(32 << 10)


@pytest.mark.timeout(300)
async def test_a_full_disk_of_the_broker_loses_nothing_that_was_acknowledged(
    tmp_path: Path,
) -> None:
    broker = Broker(tmp_path, port=child.free_port())
    broker.start()
    cluster = Cluster(broker.brokers)
    admin.create(cluster, [LINKS], partitions=1, replication=1)
    publisher = Publisher(cluster, seconds=3.0)
    running = asyncio.create_task(publisher.run())
    try:
        await _publish(publisher, b"before")
        assert broker.pid
        resource.prlimit(broker.pid, resource.RLIMIT_FSIZE, (_FULL_AT, _FULL_AT))
        acknowledged = await _publish_until_refused(publisher)
        # The broker gives its disk up and ends: with more room it has what it acknowledged.
        await until(lambda: not broker.running(), "the broker to end")
        broker.start()
        await _publish(publisher, b"after")
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    kept = {message.key() for message in read_all(cluster, "links")}
    broker.stop()
    assert acknowledged
    assert {*acknowledged, b"after"} <= kept


async def _publish(publisher: Publisher, key: bytes) -> None:
    """As its callers do: again, while Kafka cannot take it."""
    async with asyncio.timeout(PATIENCE):
        while True:
            with contextlib.suppress(Unavailable):
                return await publisher.publish("links", key, _BODY, [])


async def _publish_until_refused(publisher: Publisher) -> list[bytes]:
    acknowledged: list[bytes] = []
    for number in range(1000):
        key = b"%d" % number
        try:
            await publisher.publish("links", key, _BODY, [])
        except Unavailable:
            return acknowledged
        acknowledged.append(key)
    raise AssertionError("the disk was never full")


def _run(command: str, environment: dict[str, str], full: bool = False) -> tuple[int, str]:
    """Exit code and output of a process; with `full` it can write nothing to any file."""

    def fill_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

    result = subprocess.run(
        [sys.executable, "-m", "streams.cli", command],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", **environment},
        preexec_fn=fill_disk if full else None,
        capture_output=True,
        text=True,
        timeout=90,
    )
    return result.returncode, result.stdout + result.stderr


@pytest.mark.parametrize("command", ["work", "board", "sandbox"])
def test_a_data_folder_that_cannot_be_made_is_named(
    kafka: Cluster, tmp_path: Path, command: str
) -> None:
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file" / "data"
    environment = {
        "LINKSTATUS_BROKERS": kafka.brokers,
        "LINKSTATUS_TOPIC_PREFIX": kafka.prefix,
        "LINKSTATUS_DATA_DIR": str(folder),
        "LINKSTATUS_HTTP__PORT": str(child.free_port()),
    }
    code, text = _run(command, environment)
    assert code == 1
    assert str(folder) in text
    assert "Traceback" not in text


def test_a_full_disk_of_the_board_is_named(kafka: Cluster, tmp_path: Path) -> None:
    environment = {
        "LINKSTATUS_BROKERS": kafka.brokers,
        "LINKSTATUS_TOPIC_PREFIX": kafka.prefix,
        "LINKSTATUS_DATA_DIR": str(tmp_path),
        "LINKSTATUS_HTTP__PORT": str(child.free_port()),
    }
    code, text = _run("board", environment, full=True)
    assert code == 1
    assert "the board's database" in text
    assert "Traceback" not in text
