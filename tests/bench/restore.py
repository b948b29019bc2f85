"""How long a stage's table takes to restore, and what a link costs in memory."""

import json
import random
import sys
import time
from pathlib import Path
from typing import Any

import psutil
from confluent_kafka import Producer

from connectors.kafka.cluster import Cluster
from connectors.providers.registry import PROVIDERS
from schemas import topics
from schemas.codec import LINK_STATUS
from schemas.records import LinkStatus
from schemas.topics import message_key
from streams.admin import topics as admin
from streams.agents.stages import stage_spec
from streams.engine.session import Session
from streams.engine.spec import StageSpec
from streams.local.broker import Broker
from tests.bench.bodies import uuid4
from tests.bench.child import Child
from tests.bench.job import stage_agents
from tests.bench.processes import answer_of, environment
from tests.support.codecs import CODECS

_PARTITIONS = 8
_AT = 1_767_225_600_000_000


def measure(broker: Broker, folder: Path, rows: int) -> dict[str, float]:
    """Writes the rows, then restores them in a process of their own."""
    cluster = Cluster(broker.brokers, "restore.")
    admin.create(cluster, (topics.LINK_FACTS, topics.LINK_STATUS), _PARTITIONS, replication=1)
    write(cluster, rows, open_part=0.1)
    settings = environment(cluster, folder)
    measured: dict[str, float] = answer_of("tests.bench.restore", rows, settings=settings)
    return measured


def write(cluster: Cluster, rows: int, open_part: float) -> None:
    """Write the rows of so many links; a part of them is still open."""
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
        row = _row(rng, open_part)
        key = message_key(row["provider"], row["link_id"])
        producer.produce(
            cluster.topic(topics.LINK_STATUS.name), CODECS.encode(LINK_STATUS, row), key
        )
        # Backpressure: the queue may not grow to hold all.
        producer.poll(0 if len(producer) < 200_000 else 1.0)
    if producer.flush(120):
        raise TimeoutError("the broker did not take the rows")


def _row(rng: random.Random, open_part: float) -> LinkStatus:
    """A link as most are in the end, or still open."""
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
        "payments": [{"payment_id": payment_id, "seen": ["PAID"], "failed_at": None}],
        "amount_minor": 14_000,
        "received_minor": None,
        "currency": "SEK",
        "coverage": "PAID",
        "refunds": [],
        "refunded_minor": 0,
        "disputed_minor": 0,
        "net_minor": 14_000,
        "anomalies": [],
        "reason": None,
        "first_seen_at": _AT,
        "changed_at": _AT,
        "times": {"CREATED": _AT, "PAID": _AT},
        "claims": {"CREATED": _AT, "PAID": _AT},
        "looked_up_at": _AT,
        "registration": None,
        "provider_order_id": order_id,
        "closed_elsewhere": False,
        "judged": {},
        "claimed_at": None,
        "held": [],
        "version": 4,
    }
    if rng.random() < open_part:
        row |= {"status": "CREATED", "payment_id": None, "payment_ids": [], "payments": []}
    return row


def restore(child: Child, rows: int) -> dict[str, float]:
    """Joins as the stage `track` does; its assignment restores the table."""
    process = psutil.Process()
    whole = stage_spec(CODECS, PROVIDERS)
    step = next(step for step in whole.steps if step.name == "track")
    spec = StageSpec(whole.name, (step,), whole.dead_letter)
    session = _Timed(spec, child.cluster, "bench", {"track": {}}, lambda partitions: None)
    session.join()
    before = process.memory_info().rss
    while sum(map(len, session.tables["track"].values())) < rows:
        session.consume(0.1)
    after = process.memory_info().rss
    # The poller's schedule of the open links is part of what a link costs.
    track: Any = stage_agents()["track"]
    poller = track._poller
    while not poller._schedules or any(s.restored for s in poller._schedules.values()):
        for _ in poller.due(session.tables["track"], _AT):
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

    def _restore(self, numbers: set[int], offsets: dict[tuple[str, int], int]) -> set[int]:
        started = time.perf_counter()
        restored = super()._restore(numbers, offsets)
        self.seconds += time.perf_counter() - started
        return restored


if __name__ == "__main__":
    print(json.dumps(restore(Child.here(), int(sys.argv[1]))))
