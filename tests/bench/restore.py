"""How long a stage's table takes to restore, and what a link costs in memory."""

import json
import random
import sys
import time
from pathlib import Path
from typing import Any

import psutil
from confluent_kafka import Producer

from connectors.kafka import Cluster
from schemas import topics
from schemas.codec import LINK_STATUS
from schemas.records import LinkStatus
from schemas.topics import message_key
from streams import admin
from streams.embedded import Broker
from streams.engine.session import Session, StageSpec
from tests.bench.bodies import uuid4
from tests.bench.child import Told
from tests.bench.job import INPUTS, handlers
from tests.bench.processes import answer_of

_PARTITIONS = 8
_AT = 1_767_225_600_000_000


def measure(broker: Broker, folder: Path, rows: int) -> dict[str, float]:
    """Writes the rows, then restores them in a process of their own."""
    cluster = Cluster(broker.brokers, "restore.")
    admin.create(cluster, (topics.LINK_EVENTS, topics.LINK_STATUS), _PARTITIONS, replication=1)
    _write(cluster, rows)
    told = Told(cluster, folder).environment()
    measured: dict[str, float] = answer_of("tests.bench.restore", rows, told=told)
    return measured


def _write(cluster: Cluster, rows: int) -> None:
    producer = Producer(
        {
            **cluster.librdkafka(),
            "partitioner": "murmur2_random",
            "linger.ms": 50,
            "queue.buffering.max.messages": 1_000_000,
        }
    )
    rng = random.Random(4)
    for _ in range(rows):
        row = _row(rng)
        key = message_key(row["provider"], row["link_id"])
        producer.produce(cluster.topic(topics.LINK_STATUS.name), LINK_STATUS.encode(row), key)
        # Backpressure: the queue may not grow to hold all.
        producer.poll(0 if len(producer) < 200_000 else 1.0)
    if producer.flush(120):
        raise TimeoutError("the broker did not take the rows")


def _row(rng: random.Random) -> LinkStatus:
    """A link as most are in the end; every tenth is still open."""
    link_id, payment_id, order_id = uuid4(rng), uuid4(rng), uuid4(rng)
    row: LinkStatus = {
        "status": "PAID",
        "provider": "ping",
        "link_id": link_id,
        "claimed_status": None,
        "verified": True,
        "order_id": order_id,
        "order_from": "LOOKUP",
        "payment_id": payment_id,
        "payment_ids": [payment_id],
        "payments": [{"payment_id": payment_id, "seen": ["PAID"]}],
        "amount_minor": 14_000,
        "received_minor": None,
        "currency": "SEK",
        "coverage": "PAID",
        "anomalies": [],
        "first_seen_at": _AT,
        "changed_at": _AT,
        "times": {"CREATED": _AT, "PAID": _AT},
        "claims": {"CREATED": _AT, "PAID": _AT},
        "looked_up_at": _AT,
        "registration": None,
        "provider_order_id": order_id,
        "version": 4,
    }
    if rng.random() < 0.1:
        row |= {"status": "CREATED", "payment_id": None, "payment_ids": [], "payments": []}
    return row


def restore(told: Told, rows: int) -> dict[str, float]:
    """Joins as the stage `track` does; its assignment restores the table."""
    inputs = tuple(topic.name for topic in INPUTS["track"])
    spec = StageSpec("track", inputs, topics.LINK_STATUS.name, LINK_STATUS)
    session = _Timed(spec, told.cluster, "bench")
    process = psutil.Process()
    session.open()
    before = process.memory_info().rss
    while sum(map(len, session.tables.values())) < rows:
        session.take(0.1)
    after = process.memory_info().rss
    # The poller's schedule of the open links is part of what a link costs.
    poller: Any = handlers()["track"]
    for _ in range(1 + rows // 2_000):
        for _ in poller._poller.due(session.tables, _AT):
            pass
    with_schedule = process.memory_info().rss
    session.close()
    return {
        "restore_rows_per_s": round(rows / session.seconds),
        "restore_seconds": round(session.seconds, 2),
        "bytes_per_million_links": round((with_schedule - before) * 1_000_000 / rows),
        "table_bytes_per_million_links": round((after - before) * 1_000_000 / rows),
    }


class _Timed(Session):
    seconds = 0.0

    def _restore(self, partitions: list[int]) -> None:
        started = time.perf_counter()
        super()._restore(partitions)
        self.seconds += time.perf_counter() - started


if __name__ == "__main__":
    print(json.dumps(restore(Told.here(), int(sys.argv[1]))))
