"""From a callback's POST to its `order-close` read, through edge and worker, at a steady rate."""

import asyncio
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from connectors.kafka import Cluster
from connectors.registry import PROVIDERS
from schemas import topics
from schemas.topics import all_topics
from streams import admin
from streams.embedded import Broker
from tests.bench.bodies import peach_headers, uuid4
from tests.bench.load import quantile, request
from tests.bench.processes import environment, serving

_PARTITIONS = 8
_POSTERS = 16
# A broker, and the topics in it, are slow in their first seconds; that is not what is asked.
_WARM_SECONDS = 10


def measure(
    broker: Broker, folder: Path, rate: int, seconds: float, say: Callable[[str], None]
) -> dict[str, float]:
    """p50 and p99 in milliseconds over all callbacks sent once all is warm."""
    cluster = Cluster(broker.brokers, "latency.")
    admin.create(cluster, all_topics(PROVIDERS), _PARTITIONS, replication=1)
    edge, work = (environment(cluster, folder / name) for name in ("latency-edge", "latency-work"))
    with (
        serving(["-m", "streams.cli", "receive"], edge, folder / "latency-edge") as port,
        serving(["-m", "streams.cli", "work"], work, folder / "latency-work"),
    ):
        times = asyncio.run(_drive(cluster, port, rate, seconds))
    say(f"{len(times):,} callbacks closed their orders")
    parts = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
    return {name: round(quantile(times, part) * 1000, 1) for name, part in parts.items()}


async def _drive(cluster: Cluster, port: int, rate: int, seconds: float) -> list[float]:
    posts = _posts(int(rate * (_WARM_SECONDS + seconds)))
    closed: dict[str, float] = {}
    reading = asyncio.create_task(asyncio.to_thread(_read_closes, cluster, closed, len(posts)))
    sent = await _send(port, posts, rate)
    await reading
    return sorted(closed[link] - sent[link] for link, _ in posts[rate * _WARM_SECONDS :])


def _posts(count: int) -> list[tuple[str, bytes]]:
    """Verified Peach callbacks, each of another link and the last word on it."""
    rng, made = random.Random(3), []
    for _ in range(count):
        link_id = uuid4(rng)
        body = b'{"status": "completed", "paymentId": "%s"}' % link_id.encode()
        headers = peach_headers(body, uuid4(rng), 1_767_225_600)
        made.append((link_id, request("/callbacks/peach", body, headers)))
    return made


async def _send(port: int, posts: list[tuple[str, bytes]], rate: int) -> dict[str, float]:
    """Posts at the rate whether or not earlier ones are answered; when each was sent."""
    streams = [await asyncio.open_connection("127.0.0.1", port) for _ in range(_POSTERS)]
    sent: dict[str, float] = {}
    first = time.perf_counter()

    async def poster(number: int) -> None:
        reader, writer = streams[number]
        for index in range(number, len(posts), _POSTERS):
            link, post = posts[index]
            await asyncio.sleep(first + index / rate - time.perf_counter())
            sent[link] = time.perf_counter()
            writer.write(post)
            answer = await reader.readuntil(b"\r\n\r\n")
            if not answer.startswith(b"HTTP/1.1 200 "):
                raise RuntimeError(f"the edge answered {answer!r}")
        writer.close()

    await asyncio.gather(*(poster(number) for number in range(_POSTERS)))
    return sent


def _read_closes(cluster: Cluster, closed: dict[str, float], count: int) -> None:
    settings: dict[str, Any] = {
        **cluster.librdkafka(),
        "group.id": f"{cluster.prefix}closes",
        "isolation.level": "read_committed",
        "enable.auto.commit": False,
    }
    consumer = Consumer(settings)
    name = cluster.topic(topics.ORDER_CLOSE.name)
    consumer.assign([TopicPartition(name, number, 0) for number in range(_PARTITIONS)])
    deadline = time.monotonic() + 120
    while len(closed) < count:
        for message in consumer.consume(100, 0.001) or consumer.consume(1, 1.0):
            key = message.key()
            if message.error() is None and isinstance(key, bytes):
                closed.setdefault(key.decode().partition(":")[2], time.perf_counter())
        if time.monotonic() > deadline:
            raise TimeoutError(f"{count - len(closed):,} orders were not closed")
    consumer.close()
