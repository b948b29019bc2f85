"""A worker that loses its generation: it stands still for longer than its session lasts."""

import os
import signal
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from confluent_kafka import Producer

from connectors import producing
from connectors.kafka import Cluster
from connectors.registry import PROVIDERS
from schemas import codec
from schemas.topics import all_topics, message_key
from streams import admin, child
from tests.chaos.system import ROOT
from tests.reading import read_all
from tests.waiting import until_sync

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.alone]

# The session of a stage's consumer lasts 10 s, and so does a transaction.
_STANDSTILL_SECONDS = 13.0


class Worker:
    def __init__(self, cluster: Cluster, folder: Path, name: str) -> None:
        self.port = child.free_port()
        self.log = folder / f"{name}.log"
        environment = {
            "PYTHONPATH": str(ROOT),
            "LINKSTATUS_BROKERS": cluster.brokers,
            "LINKSTATUS_TOPIC_PREFIX": cluster.prefix,
            "LINKSTATUS_DATA_DIR": str(folder),
            "LINKSTATUS_HTTP__PORT": str(self.port),
        }
        argv = [sys.executable, "-m", "streams.cli", "work"]
        self.process = child.spawn(argv, self.log, environment)

    def ready(self) -> bool:
        try:
            url = f"http://127.0.0.1:{self.port}/readyz"
            return httpx.get(url, timeout=1.0, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False

    def signal(self, number: int) -> None:
        os.kill(self.process.pid, number)


@pytest.fixture
def cluster(bare_kafka: Cluster) -> Cluster:
    admin.create(bare_kafka, all_topics(PROVIDERS), partitions=4, replication=1)
    return bare_kafka


@pytest.fixture
def workers(cluster: Cluster, tmp_path: Path) -> Iterator[list[Worker]]:
    workers = [Worker(cluster, tmp_path, name) for name in ("sleeper", "other")]
    yield workers
    for worker in workers:
        worker.process.kill()
        worker.process.wait()


def call_back(cluster: Cluster, links: Iterable[int]) -> None:
    """Verified callbacks as the edge would store them, each paying a link of its own."""
    producer = Producer(producing.settings(cluster))
    for number in links:
        headers: list[tuple[str, str | bytes | None]] = [
            ("provider", b"peach"),
            ("source", b"callback"),
            ("verified", b"1"),
            ("received-at", b"%d" % (time.time_ns() // 1_000_000)),
            ("content-type", b"application/json"),
            ("callback-id", uuid.uuid4().hex.encode()),
        ]
        body = b'{"status": "completed", "paymentId": "link-%d"}' % number
        key = message_key("peach", f"link-{number}")
        producer.produce(cluster.topic("callbacks.peach"), body, key, headers=headers)
        time.sleep(0.002)
    assert producer.flush(30) == 0


def values(cluster: Cluster, topic: str, decoder: codec.Codec[Any]) -> list[Any]:
    return [decoder.decode(message.value()) for message in read_all(cluster, topic)]


@pytest.mark.timeout(300)
def test_it_rejoins_and_nothing_is_told_twice(cluster: Cluster, workers: list[Worker]) -> None:
    sleeper, other = workers
    until_sync(lambda: sleeper.ready() and other.ready(), "both workers", 90)
    call_back(cluster, range(500))
    sleeper.signal(signal.SIGSTOP)
    started = time.monotonic()
    call_back(cluster, range(500, 1500))
    until_sync(lambda: time.monotonic() - started > _STANDSTILL_SECONDS, "the session's end", 60)
    sleeper.signal(signal.SIGCONT)
    call_back(cluster, range(1500, 2500))
    until_sync(
        lambda: len(values(cluster, "settlement", codec.SETTLEMENT)) >= 2500, "all of it", 90
    )
    until_sync(sleeper.ready, "the sleeper to be back in its groups", 60)
    links = Counter({f"link-{number}": 1 for number in range(2500)})
    events = values(cluster, "link-events", codec.LINK_EVENT)
    closes = values(cluster, "order-close", codec.ORDER_CLOSE)
    settlements = values(cluster, "settlement", codec.SETTLEMENT)
    assert Counter(event["link_id"] for event in events) == links
    assert Counter(close["order_id"] for close in closes) == links
    assert Counter(settlement["order_id"] for settlement in settlements) == links
    rows = {r["link_id"]: r for r in values(cluster, "link-status", codec.LINK_STATUS)}
    assert Counter(row["status"] for row in rows.values()) == {"PAID": 2500}
    assert [worker.process.poll() for worker in workers] == [None, None]
