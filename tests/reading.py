"""Reading topics to their end, as a downstream service would: committed records only."""

from collections.abc import Iterable

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)

from connectors import producing
from connectors.kafka import Cluster
from tests.waiting import PATIENCE


def read_all(cluster: Cluster, topic: str) -> list[Message]:
    """Every committed record of a topic, by partition in its order."""
    consumer = Consumer(
        {
            **cluster.librdkafka(),
            "group.id": "tests",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
        }
    )
    try:
        name = cluster.topic(topic)
        partitions = consumer.list_topics(name, timeout=PATIENCE).topics[name].partitions
        consumer.assign([TopicPartition(name, number, OFFSET_BEGINNING) for number in partitions])
        return _to_end(consumer, set(partitions))
    finally:
        consumer.close()


def _to_end(consumer: Consumer, unfinished: set[int]) -> list[Message]:
    found: list[Message] = []
    while unfinished:
        for message in consumer.consume(1000, 0.1):
            error = message.error()
            if error is None:
                found.append(message)
            elif error.code() == KafkaError._PARTITION_EOF:
                unfinished.discard(message.partition() or 0)
            else:
                raise KafkaException(error)
    return found


def write_all(
    cluster: Cluster, topic: str, records: Iterable[tuple[bytes | None, bytes | None]]
) -> None:
    """Produces key-value pairs and waits until the broker has them."""
    producer = Producer(producing.settings(cluster))
    for key, value in records:
        producer.produce(cluster.topic(topic), value, key)
        producer.poll(0)
    assert producer.flush(PATIENCE) == 0
