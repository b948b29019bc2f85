"""A full disk, or a folder that cannot be written: a clear error, and nothing is lost.

A limit on the size of files replaces a full disk: it needs no rights and no extra disk.
"""

import asyncio
import contextlib
import os
import resource
from pathlib import Path

import httpx
import pytest

from connectors.kafka.cluster import Cluster
from connectors.kafka.publisher import Publisher, Unavailable
from connectors.providers.registry import PROVIDERS
from schemas import codec
from schemas.topics import LINKS, ORDER_CLOSE, all_topics, message_key
from streams import testing
from streams.admin import topics
from streams.local.broker import Broker
from tests.chaos.disk import limit_files
from tests.chaos.evidence import read_board
from tests.support.codecs import CODECS
from tests.support.ports import free_port
from tests.support.processes import LINKSTATUS, PORT, environment, is_ready, run, running
from tests.support.reading import read_all, write_all
from tests.support.waiting import PATIENCE, until_sync

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

# More than the 10 MB that the broker allocates for the index of a partition.
_FULL_AT = 11 << 20
_BODY = os.urandom(32 << 10)


@pytest.mark.long
async def test_full_disk_of_the_broker_loses_no_acknowledged_record(tmp_path: Path) -> None:
    broker = Broker(tmp_path, port=free_port())
    broker.start()
    cluster = Cluster(broker.brokers)
    topics.create(cluster, [LINKS], partitions=1, replication=1)
    publisher = Publisher(cluster, seconds=3.0)
    running = asyncio.create_task(publisher.run())
    try:
        await _publish(publisher, b"before")
        assert broker.pid
        resource.prlimit(broker.pid, resource.RLIMIT_FSIZE, (_FULL_AT, _FULL_AT))
        # The broker gives up its disk and exits. With more space it has what it acknowledged.
        acknowledged = await _publish_while_it_runs(publisher, broker)
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
    """Publish as the callers do: again, while Kafka cannot store it."""
    async with asyncio.timeout(PATIENCE):
        while True:
            with contextlib.suppress(Unavailable):
                return await publisher.publish("links", key, _BODY, [])


async def _publish_while_it_runs(publisher: Publisher, broker: Broker) -> list[bytes]:
    """Return the keys of the acknowledged records."""
    acknowledged: list[bytes] = []
    for number in range(1000):
        if not broker.running():
            return acknowledged
        with contextlib.suppress(Unavailable):
            await publisher.publish("links", b"%d" % number, _BODY, [])
            acknowledged.append(b"%d" % number)
    raise AssertionError("the disk was never full")


def _error_of(command: str, kafka: Cluster, folder: Path, full: bool = False) -> str:
    """Return the output of a process that fails. With `full` it cannot write to any file."""

    def fill_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

    env = os.environ | environment(kafka, folder) | {"PYTHONDONTWRITEBYTECODE": "1"}
    preexec = fill_disk if full else None
    ended = run(*LINKSTATUS, command, code=1, env=env, preexec_fn=preexec)
    return ended.stdout + ended.stderr


@pytest.mark.parametrize("command", ["work", "board", "sandbox"])
def test_data_folder_that_cannot_be_created_is_named_in_the_error(
    bare_kafka: Cluster, tmp_path: Path, command: str
) -> None:
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file" / "data"
    text = _error_of(command, bare_kafka, folder)
    assert str(folder) in text
    assert "Traceback" not in text


def test_full_disk_of_the_board_is_named_in_the_error(bare_kafka: Cluster, tmp_path: Path) -> None:
    text = _error_of("board", bare_kafka, tmp_path, full=True)
    assert "the board's database" in text
    assert "Traceback" not in text


def test_board_whose_disk_was_full_goes_on(bare_kafka: Cluster, tmp_path: Path) -> None:
    topics.create(bare_kafka, all_topics(PROVIDERS), partitions=1, replication=1)
    env = environment(bare_kafka, tmp_path)
    close = testing.order_close("O1")
    key = message_key(close["provider"], close["order_id"])

    def readiness() -> str:
        return httpx.get(f"http://127.0.0.1:{env[PORT]}/readyz", trust_env=False).text

    def closes() -> set[str]:
        return read_board(f"sqlite:///{tmp_path / 'board.sqlite'}").ids["order_close"]

    with running(["-m", "streams.cli", "board"], tmp_path / "log", env) as board:
        limit_files(board.pid, full=True)
        write_all(bare_kafka, ORDER_CLOSE.name, [(key, CODECS.encode(codec.ORDER_CLOSE, close))])
        until_sync(lambda: "the board's database" in readiness(), "the reason")
        assert closes() == set()
        limit_files(board.pid, full=False)
        until_sync(lambda: closes() == {close["event_id"]}, "the close")
        until_sync(lambda: is_ready(int(env[PORT])), "the board to be ready")
