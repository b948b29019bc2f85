"""Reading topics without a group: committed records only, partitions assigned by hand."""

import time
from collections.abc import Collection, Iterator
from typing import Any

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from connectors.kafka import Cluster

TIMEOUT = 15.0
_BATCH = 500
_WAIT = 0.05


def reader(cluster: Cluster, name: str, **options: Any) -> Consumer:
    """A consumer that tells where partitions end. `name` is that of its group, which the client
    asks for and nobody joins.
    """
    return Consumer(
        {
            **cluster.librdkafka(),
            "group.id": cluster.prefix + name,
            "enable.auto.commit": False,
            # Where a position is gone or cannot be asked for; else it would jump to the end.
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
            "fetch.wait.max.ms": 100,
            **options,
        }
    )


def partitions(consumer: Consumer, topic: str) -> list[int]:
    """The numbers of the topic's partitions. `topic` with prefix. Raises KafkaException."""
    found = consumer.list_topics(topic, timeout=TIMEOUT).topics[topic]
    if found.error is not None:
        raise KafkaException(found.error)
    return sorted(found.partitions)


def read(
    consumer: Consumer,
    topic: str,
    numbers: Collection[int],
    *,
    start: int = OFFSET_BEGINNING,
    follow: bool = False,
    seconds: float | None = None,
) -> Iterator[Message]:
    """The records of these partitions up to their present end, or with `follow` for ever. `topic`
    with prefix. Raises KafkaException, also when it takes more than `seconds`.
    """
    consumer.assign([TopicPartition(topic, number, start) for number in numbers])
    deadline = None if seconds is None else time.monotonic() + seconds
    unread = set(numbers)
    while unread or follow:
        if deadline is not None and time.monotonic() > deadline:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, f"reading {topic}"))
        for message in consumer.consume(_BATCH, _WAIT):
            error = message.error()
            if error is None:
                yield message
            elif error.code() == KafkaError._PARTITION_EOF:
                unread.discard(message.partition() or 0)
            elif not error.retriable():
                raise KafkaException(error)
