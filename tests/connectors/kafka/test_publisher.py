"""The publisher on a broker that starts, ends and comes back."""

import asyncio
import itertools
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from connectors.kafka.cluster import Cluster
from connectors.kafka.publisher import Publisher, Unavailable
from schemas.limits import LOOKUP_RECORD_BYTES
from schemas.topics import LINKS
from streams.admin import topics
from streams.local.broker import Broker
from tests.support.ports import free_port
from tests.support.reading import read_all
from tests.support.running import running
from tests.support.waiting import PATIENCE, until

pytestmark = pytest.mark.kafka


@asynccontextmanager
async def publishing(cluster: Cluster, seconds: float = PATIENCE) -> AsyncIterator[Publisher]:
    publisher = Publisher(cluster, seconds=seconds)
    async with running(publisher.run):
        yield publisher


@pytest.mark.parametrize(
    "value", [b"v", b"x" * (LOOKUP_RECORD_BYTES - 1000)], ids=["small", "three answers of an API"]
)
async def test_published_record_is_on_kafka(kafka: Cluster, value: bytes) -> None:
    async with publishing(kafka) as publisher:
        await publisher.publish("callbacks.ping", b"k", value, [("h", b"1")])
        assert publisher.why_not_ready() is None
    (message,) = read_all(kafka, "callbacks.ping")
    assert (message.key(), message.value(), message.headers()) == (b"k", value, [("h", b"1")])


async def test_concurrent_records_are_all_on_kafka(kafka: Cluster) -> None:
    async with publishing(kafka) as publisher:
        await asyncio.gather(
            *(publisher.publish("links", b"%d" % n, b"v" * 2000, []) for n in range(2000))
        )
    assert {m.key() for m in read_all(kafka, "links")} == {b"%d" % n for n in range(2000)}


async def test_missing_topic_is_unavailable_in_time(kafka: Cluster) -> None:
    async with publishing(kafka, seconds=0.5) as publisher:
        with pytest.raises(Unavailable):
            await publisher.publish("nowhere", b"k", b"v", [])
        # On a busy machine half a second may be too short for this topic, too, once or twice.
        await until_taken(publisher)


async def until_taken(publisher: Publisher) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await taken(publisher):
            pass


async def taken(publisher: Publisher) -> bool:
    try:
        await publisher.publish("links", b"k", b"v", [])
    except Unavailable:
        return False
    return True


async def test_missing_broker_is_unavailable_in_time_within_the_memory_limit() -> None:
    async with publishing(Cluster(f"127.0.0.1:{free_port()}"), seconds=0.3) as publisher:
        assert publisher.why_not_ready()
        big = b"x" * (64 << 10)
        sent = [publisher.publish("links", b"k", big, []) for _ in range(700)]
        results = await asyncio.gather(*sent, return_exceptions=True)
    assert all(isinstance(result, Unavailable) for result in results)
    assert any("too many" in str(result) for result in results)


@pytest.mark.parametrize(
    ("over", "reason"), [(-1, "not acknowledged"), (0, "not acknowledged"), (1, "too many")]
)
async def test_b4_waiting_bytes_count_key_and_headers(over: int, reason: str) -> None:
    publisher = Publisher(Cluster("127.0.0.1:1"), seconds=0.01, max_pending_bytes=100)
    key, headers = b"k" * 10, [("name", b"v" * 16), ("x", b"y" * 9)]
    for _ in range(2):
        with pytest.raises(Unavailable, match=reason):
            await publisher.publish("links", key, b"x" * (60 + over), headers)


@pytest.mark.slow
async def test_replaced_producer_leaves_nothing_behind(tmp_path: Path) -> None:
    """A broker that hangs: aiokafka itself would keep the record and its sender task for ever."""
    broker = Broker(tmp_path, port=free_port())
    cluster = Cluster(broker.brokers)
    await asyncio.to_thread(_start, broker, cluster)
    async with publishing(cluster, seconds=1.0) as publisher:
        before = asyncio.all_tasks()
        await until_taken(publisher)
        of_producer = asyncio.all_tasks() - before
        assert of_producer
        assert broker.pid
        os.kill(broker.pid, signal.SIGSTOP)
        # On a busy machine some of its threads run on until now.
        os.waitid(os.P_PID, broker.pid, os.WSTOPPED | os.WNOWAIT)
        assert not await taken(publisher)
        await until(lambda: all(task.done() for task in of_producer), "its tasks to end")
        os.kill(broker.pid, signal.SIGCONT)
        await until_taken(publisher)
    broker.kill()


@pytest.mark.slow
async def test_publisher_survives_its_broker(tmp_path: Path) -> None:
    broker = Broker(tmp_path, port=free_port())
    cluster = Cluster(broker.brokers)
    accepted: list[bytes] = []
    refused = 0

    async def send(publisher: Publisher, number: int) -> None:
        nonlocal refused
        try:
            await publisher.publish("links", b"%d" % number, b"v", [])
            accepted.append(b"%d" % number)
        except Unavailable:
            refused += 1

    async with publishing(cluster, seconds=1.0) as publisher:
        await send(publisher, 0)
        assert refused == 1
        await asyncio.to_thread(_start, broker, cluster)
        numbers = itertools.count(1)

        async def send_until(count: int) -> None:
            while len(accepted) < count:
                await send(publisher, next(numbers))

        await send_until(50)
        busy = [asyncio.create_task(send(publisher, next(numbers))) for _ in range(50)]
        broker.kill()
        await asyncio.gather(*busy, *(send(publisher, next(numbers)) for _ in range(50)))
        await asyncio.to_thread(broker.start)
        await send_until(len(accepted) + 50)
    assert refused > 1
    assert set(accepted) <= {message.key() for message in read_all(cluster, "links")}
    broker.stop()


def _start(broker: Broker, cluster: Cluster) -> None:
    broker.start()
    topics.create(cluster, [LINKS], partitions=2, replication=1)
