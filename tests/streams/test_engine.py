"""The engine on a real broker: nothing lost, nothing twice, whatever ends when."""

import asyncio
from collections import Counter
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from faust.types import StreamT
from prometheus_client import REGISTRY

from connectors.kafka import LARGEST_RECORD, Cluster
from schemas.codec import ORDER_UPDATE
from schemas.topics import Topic
from streams import admin
from streams.engine.app import StageApp
from streams.engine.batch import Batch, headers_of
from streams.engine.session import Session, StageSpec
from streams.engine.stage import Stage
from streams.engine.watchdog import Watchdog
from tests.reading import read_all, write_all
from tests.waiting import until

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.asyncio,
]

IN: Topic[bytes] = Topic("in", "link", None)
OUT: Topic[bytes] = Topic("out", "link", None)
TABLE = Topic("counts", "link", ORDER_UPDATE, keep_ms=None)
DEAD: Topic[bytes] = Topic("dead-letters", "link", None)
SPEC = StageSpec("counting", ("in",), "counts", ORDER_UPDATE, batch_size=50)


def count(batch: Batch, message: Message) -> None:
    """Counts the records of a key in the table and passes each on, refusing poison."""
    if message.value() == b"poison":
        batch.send("out", b"never", b"seen")
        raise ValueError("poison is not for counting")
    key, partition = message.key(), message.partition()
    assert isinstance(key, bytes)
    assert partition is not None
    row = batch.tables[partition].get(key)
    total = (row["at"] if row else 0) + 1
    new = {"provider": "p", "order_id": "o", "step": "CLOSED", "reason": None, "at": total}
    batch.put(partition, key, new)
    batch.send("out", key, message.value())


class Worker:
    """One worker in this process: an app with one stage."""

    def __init__(
        self,
        cluster: Cluster,
        folder: Path,
        name: str,
        failures: Iterable[Exception] = (),
    ) -> None:
        self.app = StageApp(
            f"{cluster.prefix}{name}",
            broker=f"kafka://{cluster.brokers}",
            web_enabled=False,
            topic_disable_leader=True,
            datadir=str(folder / name),
        )
        self.stage = self.app.add_stage(Stage(self.app, SPEC, cluster, name))

        failing = iter(failures)

        @self.app.agent(self.stage.channel, name="counting")
        async def counting(batches: StreamT[Batch]) -> None:
            async for batch in batches:
                with batch:
                    for error in failing:
                        raise error
                    batch.each(partial(count, batch))

        self.app.finalize()

    async def __aenter__(self) -> "Worker":
        await self.app.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.end()

    async def end(self) -> None:
        await self.app.stop()
        # Faust makes a consumer with an event loop of its own, never starts it and leaves it open.
        consumer: Any = self.app.consumer
        consumer._thread.thread_loop.close()


@pytest.fixture
def cluster(bare_kafka: Cluster) -> Cluster:
    admin.create(bare_kafka, [IN, OUT, TABLE, DEAD], partitions=4, replication=1)
    return bare_kafka


def keyed(first: int, count: int) -> list[tuple[bytes | None, bytes | None]]:
    return [(b"k%d" % (n % 20), b"v%d" % n) for n in range(first, first + count)]


def table_of(cluster: Cluster) -> dict[bytes, int]:
    rows = {m.key(): ORDER_UPDATE.decode(m.value())["at"] for m in read_all(cluster, "counts")}
    return {key: at for key, at in rows.items() if isinstance(key, bytes)}


def dead_letters_counted() -> float:
    labels = {"stage": "counting", "kind": "ValueError"}
    return REGISTRY.get_sample_value("linkstatus_dead_letters_total", labels) or 0.0


async def test_only_what_has_committed_is_counted_in_the_metrics(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, failures = Session.commit, iter([KafkaException(KafkaError(KafkaError._FAIL))])

    def fail_once(session: Session, batch: Batch) -> None:
        for failure in failures:
            raise failure
        commit(session, batch)

    monkeypatch.setattr(Session, "commit", fail_once)
    before = dead_letters_counted()
    write_all(cluster, "in", [(b"k", b"poison")])
    async with Worker(cluster, tmp_path, "w0") as worker:
        await until(lambda: worker.stage.committed == 1, "the record")
    assert next(failures, None) is None
    assert dead_letters_counted() - before == 1


async def test_every_record_is_counted_once_and_poison_is_dead_lettered(
    cluster: Cluster, tmp_path: Path
) -> None:
    write_all(cluster, "in", [*keyed(0, 500), (b"k3", b"poison"), *keyed(500, 500)])
    async with Worker(cluster, tmp_path, "w0") as worker:
        await until(lambda: worker.stage.committed == 1001, "1001 records")
    assert Counter(m.value() for m in read_all(cluster, "out")) == Counter(
        value for _, value in keyed(0, 1000)
    )
    assert table_of(cluster) == {b"k%d" % n: 50 for n in range(20)}
    (dead,) = read_all(cluster, "dead-letters")
    headers = {name: value.decode() for name, value in headers_of(dead)}
    assert (dead.key(), dead.value()) == (b"k3", b"poison")
    assert headers["stage"] == "counting"
    assert headers["reason"] == "poison is not for counting"
    assert headers["origin"].startswith("in/")


async def test_a_record_larger_than_the_clients_take_by_themselves_stops_nothing(
    cluster: Cluster, tmp_path: Path
) -> None:
    producer = Producer({**cluster.librdkafka(), "message.max.bytes": LARGEST_RECORD})
    large = b"x" * 1_500_000
    for value in (large, b"small"):
        producer.produce(cluster.topic("in"), value, b"k")
    assert producer.flush(30) == 0
    async with Worker(cluster, tmp_path, "w0") as worker:
        await until(lambda: worker.stage.committed == 2, "both records")
    assert [m.value() for m in read_all(cluster, "out")] == [large, b"small"]


async def test_topics_that_nobody_has_made_yet_end_no_worker(
    bare_kafka: Cluster, tmp_path: Path
) -> None:
    worker = Worker(bare_kafka, tmp_path, "w0")
    await Watchdog(worker.app.stages, bare_kafka, stall_seconds=60)._check(worker.stage)
    assert REGISTRY.get_sample_value("linkstatus_stage_lag_records", {"stage": "counting"}) == 0


async def test_the_next_worker_goes_on_with_the_table_of_the_last(
    cluster: Cluster, tmp_path: Path
) -> None:
    write_all(cluster, "in", keyed(0, 200))
    async with Worker(cluster, tmp_path, "w0") as worker:
        await until(lambda: worker.stage.committed == 200, "200 records")
    write_all(cluster, "in", keyed(200, 200))
    async with Worker(cluster, tmp_path, "w1") as worker:
        await until(lambda: worker.stage.committed == 200, "200 more records")
    assert table_of(cluster) == {b"k%d" % n: 20 for n in range(20)}


async def test_workers_that_join_and_leave_lose_and_double_nothing(
    cluster: Cluster, tmp_path: Path
) -> None:
    write_all(cluster, "in", keyed(0, 1000))
    async with Worker(cluster, tmp_path, "w0") as first:
        await until(lambda: first.stage.joined, "the first worker")
        async with Worker(cluster, tmp_path, "w1") as second:
            await until(lambda: bool(second.stage.holds()), "a share for the second worker")
            write_all(cluster, "in", keyed(1000, 1000))
            done = [first.stage, second.stage]
            await until(lambda: sum(s.committed for s in done) == 2000, "2000 records")
        write_all(cluster, "in", keyed(2000, 1000))
        await until(lambda: sum(s.committed for s in done) == 3000, "3000 records")
    assert Counter(m.value() for m in read_all(cluster, "out")) == Counter(
        value for _, value in keyed(0, 3000)
    )
    assert table_of(cluster) == {b"k%d" % n: 150 for n in range(20)}


async def test_a_batch_whose_agent_fails_is_taken_again(cluster: Cluster, tmp_path: Path) -> None:
    failures = iter([RuntimeError("first"), RuntimeError("second")])
    write_all(cluster, "in", keyed(0, 300))
    async with Worker(cluster, tmp_path, "w0", failures) as worker:
        await until(lambda: worker.stage.committed == 300, "300 records")
    assert table_of(cluster) == {b"k%d" % n: 15 for n in range(20)}


async def test_two_workers_starting_at_once_on_an_empty_cluster(
    cluster: Cluster, tmp_path: Path
) -> None:
    workers = [Worker(cluster, tmp_path, f"w{n}") for n in range(2)]
    await asyncio.gather(*(worker.app.start() for worker in workers))
    try:
        write_all(cluster, "in", keyed(0, 1000))
        await until(lambda: sum(w.stage.committed for w in workers) == 1000, "1000 records")
        await until(lambda: all(w.stage.holds() for w in workers), "a share for each")
    finally:
        for worker in workers:
            await worker.end()
    assert table_of(cluster) == {b"k%d" % n: 50 for n in range(20)}


async def test_offsets_that_stay_pending_for_good_do_not_stop_a_stage(
    cluster: Cluster, tmp_path: Path
) -> None:
    """What a killed broker may leave behind: offsets in a transaction that nobody ends."""
    write_all(cluster, "in", keyed(0, 200))
    group = {**cluster.librdkafka(), "group.id": f"{cluster.prefix}linkstatus.{SPEC.name}"}
    member = Consumer({**group, "auto.offset.reset": "earliest", "enable.auto.commit": False})
    ghost = Producer({**cluster.librdkafka(), "transactional.id": f"{cluster.prefix}ghost"})
    member.subscribe([cluster.topic("in")])
    assert await asyncio.to_thread(member.consume, 1, 20)
    ghost.init_transactions(20)
    ghost.begin_transaction()
    pending = [TopicPartition(cluster.topic("in"), number, 1) for number in range(4)]
    ghost.send_offsets_to_transaction(pending, member.consumer_group_metadata(), 20)
    member.close()
    async with Worker(cluster, tmp_path, "w0") as worker:
        await until(lambda: worker.stage.committed == 200, "200 records", 60)
    assert table_of(cluster) == {b"k%d" % n: 10 for n in range(20)}
    ghost.abort_transaction(20)
