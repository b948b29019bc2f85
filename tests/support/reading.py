"""Reading and writing whole topics, as other services do."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

from confluent_kafka import (
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec

from connectors.kafka import sync_producer, topic_reader
from connectors.kafka.cluster import Cluster
from schemas.topics import Topic
from tests.support.codecs import CODECS
from tests.support.waiting import PATIENCE, until_sync

T = TypeVar("T")


def read_all(cluster: Cluster, topic: str) -> list[Message]:
    """Return every committed record of a topic, in order within each partition, once no transaction
    is open: a commit is answered before its markers are written (KIP-98), and its records cannot be
    read until then.
    """
    consumer = topic_reader.reader(cluster, "tests", **{"fetch.wait.max.ms": 10})
    admin = AdminClient(cluster.librdkafka())
    try:
        name = cluster.topic(topic)
        numbers = topic_reader.partitions(consumer, name)
        until_sync(lambda: _all_stable(admin, name, numbers), f"the transactions in {name}")
        return list(topic_reader.read(consumer, name, numbers, seconds=PATIENCE))
    finally:
        consumer.close()


def _all_stable(admin: AdminClient, name: str, numbers: Iterable[int]) -> bool:
    """Return whether the last stable offset of each partition is its end. A topic that is new has
    no leader for a moment.
    """
    try:
        last_stable, end = (
            {
                partition.partition: answer.result(PATIENCE).offset
                for partition, answer in admin.list_offsets(
                    {TopicPartition(name, number): OffsetSpec.latest() for number in numbers},  # type: ignore[no-untyped-call]
                    isolation_level=level,
                ).items()
            }
            for level in (IsolationLevel.READ_COMMITTED, IsolationLevel.READ_UNCOMMITTED)
        )
    except KafkaException as error:
        if error.args[0].code() != KafkaError.NOT_LEADER_FOR_PARTITION:
            raise
        return False
    return last_stable == end


def values(cluster: Cluster, topic: Topic[T]) -> list[T]:
    """Return the decoded records of a topic of ours."""
    assert topic.schema
    return [
        CODECS.decode(topic.schema, message.value()) for message in read_all(cluster, topic.name)
    ]


def write_all(
    cluster: Cluster,
    topic: str,
    records: Iterable[tuple[bytes | None, bytes | None]],
    headers: Sequence[tuple[str, bytes]] = (),
) -> None:
    """Write key-value pairs and wait until the broker has them."""
    producer = Producer(sync_producer.settings(cluster))
    for key, value in records:
        producer.produce(cluster.topic(topic), value, key, headers=list(headers))
        producer.poll(0)
    assert producer.flush(PATIENCE) == 0
