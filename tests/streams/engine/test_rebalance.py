"""What a rebalance, an open transaction or a broken row can do between two steps of a session."""

import re
import threading
import time
from contextlib import closing
from typing import Any
from unittest import mock

import pytest
from confluent_kafka import KafkaException, Message, Producer, TopicPartition

from connectors.kafka.cluster import Cluster
from schemas.codec import LINK_STATUS
from schemas.topics import Topic
from streams.admin import topics
from streams.agents.agent import dead_letter
from streams.agents.polling import Poller
from streams.domain.polling import Intervals
from streams.engine import restore as restoring
from streams.engine.batch import Batch
from streams.engine.clients import TRANSACTION_TIMEOUT_MS
from streams.engine.priority_topics import PriorityTopics
from streams.engine.restore import TableReader
from streams.engine.session import Session
from streams.engine.spec import StageSpec, Step, TableSpec
from streams.engine.table import TablePartition
from tests.support.codecs import CODECS
from tests.support.reading import write_all
from tests.support.waiting import until_sync

TABLE = TableSpec("counts", encode=lambda count: b"%d" % count, decode=int)
SPEC = StageSpec("counting", (Step("counting", ("in",), TABLE),), dead_letter)
TOPICS: list[Topic[Any]] = [
    Topic("in", "link", None),
    Topic("counts", "link", None, keep_ms=None),
]


@pytest.fixture
def cluster(bare_kafka: Cluster) -> Cluster:
    topics.create(bare_kafka, TOPICS, partitions=2, replication=1)
    return bare_kafka


def joined(cluster: Cluster, name: str) -> Session:
    session = Session(SPEC, cluster, name, {"counting": {}}, lambda _: None)
    session.join()
    return session


class Member:
    """A session that consumes in a thread of its own: so it takes part in rebalances."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.session = joined(cluster, name)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._stop.is_set():
            self.session.consume(0.05)

    def __enter__(self) -> "Member":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)
        self.session.close()


class RevokingConsumer:
    """A consumer whose second call of `consume` in a round meets a revocation."""

    def __init__(self, session: Session) -> None:
        self._session, self._real = session, session._consumer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def consume(self, count: int, seconds: float) -> Any:
        if seconds:
            return self._real.consume(count, seconds)
        self._session._revoke(self._real.assignment())
        return []


@pytest.mark.kafka
def test_record_of_a_revoked_partition_is_not_handled(cluster: Cluster) -> None:
    write_all(cluster, "in", [(b"k", b"v")])
    with closing(joined(cluster, "one")) as session:
        session._consumer = RevokingConsumer(session)  # type: ignore[assignment]
        consumed = [session.consume(0.5) for _ in range(10)]
    assert consumed == [[]] * 10


def numbers(session: Session) -> int:
    """Consume for a moment, and return how many partitions the session holds."""
    assert session.consume(0) == []
    return len(session.tables["counting"])


@pytest.mark.kafka
def test_i2_closing_session_only_unassigns(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An assignment is queued, and the close serves it: nothing of it may take time."""
    one, questions = joined(cluster, "one"), list[object]()
    until_sync(lambda: numbers(one) == 2, "all partitions")
    with Member(cluster, "two") as two:
        until_sync(lambda: numbers(one) == 2 and one._joining, "the revocation")
        until_sync(lambda: bool(two.session.tables["counting"]), "the others' assignment")
        monkeypatch.setattr(one._group, "start_offsets", lambda *each: questions.append(each))
        started = time.monotonic()
        one.close()
        assert time.monotonic() - started < 5
        until_sync(lambda: len(two.session.tables["counting"]) == 2, "all partitions of it")
    assert questions == []
    assert "pending" not in caplog.text


@pytest.mark.kafka
def test_i2_session_that_is_ending_does_not_join_again(cluster: Cluster) -> None:
    ending = threading.Event()
    one = Session(SPEC, cluster, "one", {"counting": {}}, lambda _: None, ending)
    with closing(one), Member(cluster, "two"):
        one.join()
        until_sync(lambda: numbers(one) == 1, "its partition")
        ending.set()
        with Member(cluster, "three") as three:
            until_sync(lambda: bool(numbers(one)) and is_alone(three.session, "one"), "its leaving")


def is_alone(session: Session, other: str) -> bool:
    """Whether `other` is not in the group of the session."""
    return other not in session._group.members().values()


@pytest.mark.kafka
def test_i2_session_that_ends_while_it_joins_leaves_a_valid_generation(cluster: Cluster) -> None:
    """Kafka would handle its leaving right after its join. All others would then join once more,
    which librdkafka does only after a second.
    """
    with closing(joined(cluster, "one")) as one, closing(joined(cluster, "slow")) as slow:
        until_sync(lambda: numbers(one) == numbers(slow) == 1, "a partition of each")
        with Member(cluster, "three") as three:
            until_sync(lambda: numbers(one) == 1 and one._joining, "the revocation")
            leaving = threading.Thread(target=one.end_joining, args=(30,))
            leaving.start()
            # All wait for the slow one.
            assert leaving.is_alive()
            until_sync(lambda: slow.consume(0.05) == [] and not leaving.is_alive(), "its end")
            assert not one._joining
            assert not is_alone(three.session, "one")


class FakeConsumer:
    """Remembers which partitions are paused."""

    def __init__(self, assigned: list[TopicPartition]) -> None:
        self._assigned = assigned
        self.paused: set[tuple[str, int]] = set()

    def assignment(self) -> list[TopicPartition]:
        return self._assigned

    def pause(self, partitions: list[TopicPartition]) -> None:
        self.paused |= {(p.topic, p.partition) for p in partitions}

    def resume(self, partitions: list[TopicPartition]) -> None:
        self.paused -= {(p.topic, p.partition) for p in partitions}


def test_pause_for_a_backlog_ends_with_the_assignment() -> None:
    """librdkafka keeps a pause over `unassign` and `assign`."""
    partitions = [TopicPartition("links", 0, 0), TopicPartition("in", 0, 0)]
    consumer: Any = FakeConsumer(partitions)
    priority = PriorityTopics(consumer, ["links"])
    priority.on_assign(partitions, lambda topic, number: (0, 5))
    assert consumer.paused == {("in", 0)}
    priority.on_revoke()
    assert consumer.paused == set()


@pytest.mark.kafka
def test_restore_waits_for_an_open_transaction(cluster: Cluster) -> None:
    name = cluster.topic("counts")
    producer = Producer({**cluster.librdkafka(), "transactional.id": f"{cluster.prefix}owner"})
    producer.init_transactions(20)
    producer.begin_transaction()
    producer.produce(name, b"7", b"k", partition=0)
    assert producer.flush(20) == 0
    table = TablePartition(TABLE.encode, TABLE.decode)
    with closing(TableReader(cluster, "g", ["counts"])) as reader:
        restoring = threading.Thread(target=reader.restore, args=({"counts": {0: table}},))
        restoring.start()
        until_sync(lambda: restoring.is_alive(), "the restore")
        producer.commit_transaction(20)
        restoring.join(30)
    assert table.get(b"k") == 7


@pytest.mark.kafka
def test_restore_never_uses_the_rows_before_an_open_transaction(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its offsets may have committed: the tables would lose its changes."""
    monkeypatch.setattr(restoring, "_OPEN_SECONDS", 0.5)
    write_all(cluster, "counts", [(b"k0", b"1"), (b"k1", b"2")])
    producer = Producer({**cluster.librdkafka(), "transactional.id": f"{cluster.prefix}owner"})
    producer.init_transactions(20)
    producer.begin_transaction()
    producer.produce(cluster.topic("counts"), b"7", b"k", partition=0)
    assert producer.flush(20) == 0
    with closing(TableReader(cluster, "g", ["counts"])) as reader:
        open_partition = re.escape(f"partitions [('{cluster.topic('counts')}', 0)] stays open")
        with pytest.raises(KafkaException, match=open_partition):
            reader.restore({"counts": _empty_tables()})
        producer.commit_transaction(20)
        tables = _empty_tables()
        reader.restore({"counts": tables})
    rows = {key: table.get(key) for table in tables.values() for key in table.committed_keys()}
    assert rows == {b"k": 7, b"k0": 1, b"k1": 2}


def _empty_tables() -> dict[int, TablePartition[int]]:
    return {number: TablePartition(TABLE.encode, TABLE.decode) for number in range(2)}


class Killed(Exception):
    """Stands for the end of the process."""


def consumed(session: Session) -> list[Message]:
    """Return the next records of the session."""
    found: list[Message] = []

    def consumes() -> bool:
        found.extend(session.consume(0.2))
        return bool(found)

    until_sync(consumes, "a record")
    return found


def batch_of(session: Session) -> Batch:
    return Batch(SPEC, consumed(session), session.tables, session.cluster.prefix, 2)


@pytest.mark.kafka
def test_transaction_that_a_killed_worker_left_does_not_hold_its_partitions(
    cluster: Cluster,
) -> None:
    """Kafka itself would end it after its time-out, and the next owner would wait as long."""
    write_all(cluster, "in", [(b"k", b"v")])
    killed = joined(cluster, "killed")
    killed.commit(batch_of(killed))
    write_all(cluster, "in", [(b"k", b"w")])
    dying = mock.patch.object(killed._producer, "commit_transaction", side_effect=Killed)
    with dying, pytest.raises(Killed):
        killed.commit(batch_of(killed))
    killed._closing = True
    killed._consumer.close()
    with closing(joined(cluster, "next")) as session:
        started = time.monotonic()
        (again,) = consumed(session)
        assert time.monotonic() - started < TRANSACTION_TIMEOUT_MS / 1000
    assert again.value() == b"w"


@pytest.mark.parametrize("row", [b"", b"\x00", b"\x00\x00"])
def test_broken_row_of_a_link_does_not_stop_the_polling_of_others(row: bytes) -> None:
    frame = b"\x00" + CODECS.write_id(LINK_STATUS).to_bytes(4, "big")
    table: TablePartition[Any] = TablePartition(
        lambda record: CODECS.encode(LINK_STATUS, record),
        lambda data: CODECS.decode(LINK_STATUS, data),
    )
    table.restore(b"ping:broken", frame + row)
    poller = Poller(CODECS, {}, Intervals())
    assert list(poller.due({0: table}, 10)) == []
