"""A group's coordinator does not take the offsets, or leaves the cluster."""

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from unittest import mock

import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from connectors.kafka.cluster import Cluster
from connectors.kafka.transactional_producer import CoordinatorStuck
from streams.admin import topics
from streams.engine.clients import group_consumer, transactional_producer
from streams.engine.session import Session
from tests.chaos.brokers import Brokers
from tests.chaos.network import Network
from tests.streams.engine.test_engine import SPEC, TOPICS, count, counts
from tests.streams.engine.test_rebalance import batch_of, joined
from tests.support.reading import read_all, write_all
from tests.support.waiting import until_sync

# Enough for one whose own transactions another broker coordinates: then no change of another
# connection wakes librdkafka up.
_PRODUCERS = 4
_PARTITIONS = 6
_SECONDS = 2.0


@pytest.fixture
def three_brokers(tmp_path: Path) -> Iterator[Brokers]:
    network = Network()
    brokers = Brokers(tmp_path, 3, network, ["worker"])
    brokers.start()
    yield brokers
    for name in brokers.names():
        brokers.node(name).broker.kill()
    brokers.stop()
    network.close()


def commit(producer: Producer, member: Consumer, offset: int, seconds: float = 30) -> None:
    """Commit a transaction with records in all partitions and an offset of the group. Its
    coordinator has so many seconds.
    """
    producer.begin_transaction()
    for number in range(_PARTITIONS):
        producer.produce("out", b"", partition=number)
    offsets = [TopicPartition("in", 0, offset)]
    group = member.consumer_group_metadata()
    producer.send_offsets_to_transaction(offsets, group, seconds)
    producer.commit_transaction(30)


def leave(brokers: Brokers, group: str) -> None:
    """Stop the group's coordinator in order."""
    admin = AdminClient({"bootstrap.servers": brokers.addresses})
    coordinator = admin.describe_consumer_groups([group])[group].result().coordinator
    brokers.node(brokers.names()[coordinator.id - 1]).broker.stop()


@pytest.mark.kafka
@pytest.mark.timeout(120)
def test_wait_for_a_coordinator_that_left_ends_in_time(three_brokers: Brokers) -> None:
    cluster = Cluster(three_brokers.addresses)
    topics.create(cluster, TOPICS, partitions=_PARTITIONS, replication=3)
    names = [f"worker-{number}" for number in range(_PRODUCERS)]
    producers = {name: transactional_producer(cluster, name) for name in names}
    with closing(group_consumer(cluster, SPEC.group, "member")) as member:
        member.subscribe(["in"])
        until_sync(lambda: not member.consume(1, 0.1) and bool(member.assignment()), "partitions")
        for producer in producers.values():
            commit(producer, member, 1)
        leave(three_brokers, SPEC.group)
        for name, producer in producers.items():
            member.consume(1, 0)
            started = time.monotonic()
            try:
                commit(producer, member, 2, _SECONDS)
            except CoordinatorStuck:
                assert time.monotonic() - started < 5 * _SECONDS
                commit(transactional_producer(cluster, name), member, 2)
        (committed,) = member.committed([TopicPartition("in", 0)], 10)
        assert committed.offset == 2


def handle_next(session: Session, value: bytes) -> None:
    """Let the session handle and commit a new record."""
    write_all(session.cluster, "in", [(b"k", value)])
    batch = batch_of(session)
    batch.walk(lambda step: batch.each(step, count))
    session.commit(batch)


@pytest.mark.kafka
def test_batch_of_a_stuck_producer_is_committed_once_by_the_next(bare_kafka: Cluster) -> None:
    topics.create(bare_kafka, TOPICS, partitions=2, replication=1)
    stuck = CoordinatorStuck(KafkaError(KafkaError._TIMED_OUT))
    with closing(joined(bare_kafka, "worker")) as session:
        with mock.patch.object(session._producer, "send_offsets_to_transaction", side_effect=stuck):
            handle_next(session, b"v")
        handle_next(session, b"w")
    assert [message.value() for message in read_all(bare_kafka, "out")] == [b"v", b"w"]
    assert counts(bare_kafka) == {b"k": 2}
