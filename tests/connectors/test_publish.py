"""The careful producer on a broker that comes, goes and comes back."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from connectors.kafka import Cluster
from connectors.outward import MAX_ANSWER
from connectors.publish import Publisher, Unavailable
from schemas.topics import LINKS
from streams import admin
from streams.child import free_port
from streams.embedded import Broker
from tests.reading import read_all
from tests.waiting import PATIENCE

pytestmark = pytest.mark.kafka


@asynccontextmanager
async def publishing(cluster: Cluster, seconds: float = PATIENCE) -> AsyncIterator[Publisher]:
    publisher = Publisher(cluster, seconds=seconds)
    running = asyncio.create_task(publisher.run())
    yield publisher
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_published_record_is_there(kafka: Cluster) -> None:
    async with publishing(kafka) as publisher:
        await publisher.publish("links", b"k", b"v", [("h", b"1")])
        assert publisher.why_not_ready() is None
    (message,) = read_all(kafka, "links")
    assert (message.key(), message.value(), message.headers()) == (b"k", b"v", [("h", b"1")])


async def test_two_answers_of_an_api_in_one_record_are_not_too_large(kafka: Cluster) -> None:
    both = b"x" * (2 * MAX_ANSWER + 1000)
    async with publishing(kafka) as publisher:
        await publisher.publish("callbacks.ping", b"k", both, [])
    (message,) = read_all(kafka, "callbacks.ping")
    assert message.value() == both


async def test_many_at_once_are_all_there(kafka: Cluster) -> None:
    async with publishing(kafka) as publisher:
        await asyncio.gather(
            *(publisher.publish("links", b"%d" % n, b"v" * 2000, []) for n in range(2000))
        )
    assert {m.key() for m in read_all(kafka, "links")} == {b"%d" % n for n in range(2000)}


async def test_a_topic_that_is_not_there_is_said_in_time(kafka: Cluster) -> None:
    async with publishing(kafka, seconds=0.5) as publisher:
        with pytest.raises(Unavailable):
            await publisher.publish("nowhere", b"k", b"v", [])
        # On a busy machine half a second may be too short for this one, too, once or twice.
        async with asyncio.timeout(PATIENCE):
            while not await taken(publisher):
                pass


async def taken(publisher: Publisher) -> bool:
    try:
        await publisher.publish("links", b"k", b"v", [])
    except Unavailable:
        return False
    return True


async def test_no_broker_is_said_in_time_and_costs_no_memory() -> None:
    async with publishing(Cluster(f"127.0.0.1:{free_port()}"), seconds=0.3) as publisher:
        assert publisher.why_not_ready()
        big = b"x" * (64 << 10)
        sent = [publisher.publish("links", b"k", big, []) for _ in range(700)]
        results = await asyncio.gather(*sent, return_exceptions=True)
    assert all(isinstance(result, Unavailable) for result in results)
    assert any("too many" in str(result) for result in results)


@pytest.mark.slow
async def test_the_producer_outlives_its_broker(tmp_path: Path) -> None:
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
    admin.create(cluster, [LINKS], partitions=2, replication=1)
