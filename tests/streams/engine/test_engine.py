"""The engine on a real broker: no record is lost or handled twice, whatever stops when."""

import asyncio
import gc
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from prometheus_client import REGISTRY

from connectors.kafka import sync_producer
from connectors.kafka.cluster import Cluster
from schemas.headers import headers_of
from schemas.topics import DEAD_LETTERS, Topic
from streams.admin import topics
from streams.agents.agent import dead_letter
from streams.engine import stage
from streams.engine.app import StageApp
from streams.engine.batch import Batch, Fact
from streams.engine.session import Session
from streams.engine.spec import StageSpec, Step, TableSpec
from streams.engine.stage import Stage
from streams.engine.watchdog import Watchdog
from tests.support.reading import read_all, write_all
from tests.support.waiting import until

pytestmark = [pytest.mark.kafka, pytest.mark.asyncio]

TOPICS: list[Topic[Any]] = [
    Topic("in", "link", None),
    Topic("out", "link", None),
    Topic("counts", "link", None, keep_ms=None),
    DEAD_LETTERS,
]
TABLE = TableSpec("counts", encode=lambda count: b"%d" % count, decode=int)
# Those of two closed sessions may still be ending.
_CLOSING_THREADS = 30
SPEC = StageSpec("counting", (Step("counting", ("in",), TABLE),), dead_letter, batch_size=50)


def count(batch: Batch, fact: Fact) -> None:
    """Count the records of each key in the table and send each on. Poison raises."""
    key, value, partition = fact.key, fact.message.value(), fact.partition
    if value == b"poison":
        batch.send("out", b"never", b"seen")
        raise ValueError("poison is not for counting")
    assert key is not None
    row = batch.tables["counting"][partition].get(key) or 0
    batch.put("counting", partition, key, row + 1)
    batch.send("out", key, value)


class Worker:
    """One worker in this process: an app with one stage. Its first batches raise `failures`."""

    def __init__(
        self, cluster: Cluster, folder: Path, name: str, failures: Iterable[Exception] = ()
    ) -> None:
        self.app = StageApp(
            f"{cluster.prefix}{name}",
            broker=f"kafka://{cluster.brokers}",
            topic_disable_leader=True,
            datadir=str(folder / name),
        )
        self.stage = self.app.add_stage(Stage(self.app, SPEC, cluster, name))
        failing = iter(failures)

        def handle(batch: Batch) -> None:
            for error in failing:
                raise error
            batch.each("counting", count)

        self.app.add_agent(self.stage, "counting", handle)
        self.app.finalize()

    async def __aenter__(self) -> "Worker":
        await self.app.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.app.stop()
        # Faust creates a consumer with its own event loop, never starts it and leaves it open.
        consumer: Any = self.app.consumer
        consumer._thread.thread_loop.close()


@pytest.fixture
def cluster(bare_kafka: Cluster) -> Cluster:
    topics.create(bare_kafka, TOPICS, partitions=4, replication=1)
    return bare_kafka


def keyed(first: int, count: int) -> list[tuple[bytes | None, bytes | None]]:
    return [(b"k%d" % (n % 20), b"v%d" % n) for n in range(first, first + count)]


def counts(cluster: Cluster) -> dict[Any, int]:
    return {m.key(): int(m.value() or b"") for m in read_all(cluster, "counts")}


def each_key(count: int) -> dict[bytes, int]:
    return {b"k%d" % n: count for n in range(20)}


def values(cluster: Cluster) -> Counter[bytes | None]:
    return Counter(m.value() for m in read_all(cluster, "out"))


def dead_letters_counted() -> float:
    labels = {"stage": "counting", "kind": "ValueError"}
    return REGISTRY.get_sample_value("linkstatus_dead_letters_total", labels) or 0.0


async def test_metrics_count_only_committed_records(
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
    assert values(cluster) == Counter(value for _, value in keyed(0, 1000))
    assert counts(cluster) == each_key(50)
    (dead,) = read_all(cluster, "dead-letters")
    headers = {name: value.decode() for name, value in headers_of(dead)}
    assert (dead.key(), dead.value()) == (b"k3", b"poison")
    assert headers["stage"] == "counting"
    assert headers["reason"] == "poison is not for counting"
    assert headers["origin"].startswith("in/")


async def test_record_larger_than_the_clients_default_limit_passes(
    cluster: Cluster, tmp_path: Path
) -> None:
    producer = Producer(sync_producer.settings(cluster))
    large = b"x" * 1_500_000
    for value in (large, b"small"):
        producer.produce(cluster.topic("in"), value, b"k")
    assert producer.flush(30) == 0
    async with Worker(cluster, tmp_path, "w0") as worker:
        await until(lambda: worker.stage.committed == 2, "both records")
    assert [m.value() for m in read_all(cluster, "out")] == [large, b"small"]


async def test_watchdog_sees_no_lag_in_topics_that_do_not_exist(
    bare_kafka: Cluster, tmp_path: Path
) -> None:
    worker = Worker(bare_kafka, tmp_path, "w0")
    await asyncio.to_thread(Watchdog([worker.stage], bare_kafka, 60).progress.check)
    assert REGISTRY.get_sample_value("linkstatus_stage_lag_records", {"stage": "counting"}) == 0


async def test_next_worker_continues_with_the_table_of_the_last(
    cluster: Cluster, tmp_path: Path
) -> None:
    for number in range(2):
        write_all(cluster, "in", keyed(200 * number, 200))
        async with Worker(cluster, tmp_path, f"w{number}") as worker:
            await until(lambda: worker.stage.committed == 200, "200 records")
    assert counts(cluster) == each_key(20)


async def test_nothing_is_lost_or_duplicated_when_workers_join_and_leave(
    cluster: Cluster, tmp_path: Path
) -> None:
    write_all(cluster, "in", keyed(0, 1000))
    async with Worker(cluster, tmp_path, "w0") as first:
        await until(lambda: first.stage.joined, "the first worker")
        async with Worker(cluster, tmp_path, "w1") as second:
            await until(lambda: bool(second.stage.partitions), "partitions of the second worker")
            write_all(cluster, "in", keyed(1000, 1000))
            stages = [first.stage, second.stage]
            await until(lambda: sum(s.committed for s in stages) == 2000, "2000 records")
        write_all(cluster, "in", keyed(2000, 1000))
        await until(lambda: sum(s.committed for s in stages) == 3000, "3000 records")
    assert values(cluster) == Counter(value for _, value in keyed(0, 3000))
    assert counts(cluster) == each_key(150)


async def test_batch_whose_agent_fails_is_tried_again(cluster: Cluster, tmp_path: Path) -> None:
    failures = [RuntimeError("first"), RuntimeError("second")]
    write_all(cluster, "in", keyed(0, 300))
    async with Worker(cluster, tmp_path, "w0", failures) as worker:
        await until(lambda: worker.stage.committed == 300, "300 records")
    assert counts(cluster) == each_key(15)


async def test_two_workers_can_start_together_on_an_empty_cluster(
    cluster: Cluster, tmp_path: Path
) -> None:
    workers = [Worker(cluster, tmp_path, f"w{n}") for n in range(2)]
    await asyncio.gather(*(worker.app.start() for worker in workers))
    try:
        write_all(cluster, "in", keyed(0, 1000))
        await until(lambda: sum(w.stage.committed for w in workers) == 1000, "1000 records")
        await until(lambda: all(w.stage.partitions for w in workers), "partitions of each")
    finally:
        for worker in workers:
            await worker.__aexit__()
    assert counts(cluster) == each_key(50)


async def test_stage_starts_although_committed_offsets_stay_pending(
    cluster: Cluster, tmp_path: Path
) -> None:
    """A killed broker can leave offsets in a transaction that never ends."""
    write_all(cluster, "in", keyed(0, 200))
    group = {**cluster.librdkafka(), "group.id": cluster.prefix + SPEC.group}
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
    assert counts(cluster) == each_key(10)
    ghost.abort_transaction(20)


async def test_table_stays_in_memory_while_its_partition_stays(
    cluster: Cluster, tmp_path: Path
) -> None:
    write_all(cluster, "in", keyed(0, 200))
    async with Worker(cluster, tmp_path, "w0") as first:
        await until(lambda: first.stage.committed == 200, "200 records")
        before = dict(first.stage.tables["counting"])
        async with Worker(cluster, tmp_path, "w1") as second:
            await until(lambda: bool(second.stage.partitions), "partitions of the second worker")
            await until(lambda: bool(first.stage.partitions), "partitions of the first worker")
            during = dict(first.stage.tables["counting"])
            assert set(during) == {number for _, number in first.stage.partitions}
            assert all(during[number] is before[number] for number in during)
        await until(lambda: len(first.stage.partitions) == 4, "all partitions")
        after = first.stage.tables["counting"]
        assert all(after[number] is during[number] for number in during)
        # Those that came back were restored.
        assert {k for table in after.values() for k in table.committed_keys()} == set(each_key(0))


async def test_assignment_of_only_some_inputs_is_refused(cluster: Cluster, tmp_path: Path) -> None:
    """Two sessions would own one table partition."""
    spec = StageSpec("partial", (Step("counting", ("in", "out"), TABLE),), dead_letter)
    session = Session(spec, cluster, "one", {"counting": {}}, lambda _: None)
    with closing(session), pytest.raises(KafkaException, match="the assignment is partial"):
        session._assign([TopicPartition(cluster.topic("in"), 0)])


async def test_topics_with_different_numbers_of_partitions_are_refused(
    cluster: Cluster, bare_kafka: Cluster
) -> None:
    topics.create(bare_kafka, [Topic("odd", "link", None)], partitions=3, replication=1)
    spec = StageSpec("uneven", (Step("counting", ("in", "odd"), TABLE),), dead_letter)
    with pytest.raises(KafkaException, match="need the same number of partitions"):
        Session(spec, cluster, "one", {"counting": {}}, lambda _: None)


async def test_i1_worker_whose_name_another_one_has_says_so_and_gives_way(
    cluster: Cluster, tmp_path: Path
) -> None:
    """They would fence each other off without end, and both seem ready in between."""
    async with Worker(cluster, tmp_path, "twin") as first:
        await until(lambda: first.stage.joined, "the first worker")
        async with Worker(cluster, tmp_path, "twin") as second:
            write_all(cluster, "in", keyed(0, 1000))
            await until(lambda: "has the name twin.0" in str(first.stage.why_not_ready()), "word")
            stages = [first.stage, second.stage]
            await until(lambda: sum(s.committed for s in stages) == 1000, "1000 records")
            await until(lambda: len(second.stage.partitions) == 4, "all partitions")
            assert second.stage.why_not_ready() is None
        await until(lambda: len(first.stage.partitions) == 4, "the first worker again")
        assert first.stage.joined
    assert counts(cluster) == each_key(50)


async def test_i3_rejoins_leave_no_threads_or_descriptors(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker whose sessions fail again and again must not grow, not even until the next full
    garbage collection: each producer has threads and connections.
    """
    monkeypatch.setattr(stage, "_LONGEST_PAUSE", 0.0)
    monkeypatch.setattr(stage, "_FIRST_PAUSE", 0.0)
    process, left = psutil.Process(), [101]
    sizes: list[tuple[int, int]] = []

    def failures() -> Iterator[Exception]:
        while left[0]:
            sizes.append((process.num_threads(), process.num_fds()))
            left[0] -= 1
            yield RuntimeError(f"{left[0]} more")

    write_all(cluster, "in", keyed(0, 200))
    gc.collect()
    gc.disable()
    try:
        async with Worker(cluster, tmp_path, "w0", failures()) as worker:
            await until(lambda: worker.stage.committed == 200, "200 records", 120)
            sizes.append((process.num_threads(), process.num_fds()))
    finally:
        gc.enable()
    (threads, descriptors), *later = sizes
    assert len(later) == 101
    assert max(number for number, _ in later) <= threads + _CLOSING_THREADS
    assert max(number for _, number in later) <= descriptors + _CLOSING_THREADS
    assert counts(cluster) == each_key(10)
