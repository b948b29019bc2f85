"""Reading topics without a consumer group: committed records only, partitions assigned by hand."""

import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import closing
from typing import Any

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)
from confluent_kafka.admin import TopicMetadata

from connectors.kafka.cluster import Cluster

TIMEOUT = 15.0
_BATCH = 500
_POLL_SECONDS = 0.05


def reader(cluster: Cluster, name: str, **options: Any) -> Consumer:
    """Return a consumer that reports the end of partitions. `name` is its group's name: librdkafka
    needs one, but the consumer never joins it.
    """
    return cluster.clients.consumer(
        {
            **cluster.librdkafka(),
            "group.id": cluster.prefix + name,
            "enable.auto.commit": False,
            # Where an offset is gone or unknown; the default would jump to the end.
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
            "fetch.wait.max.ms": 100,
            **options,
        }
    )


def stable_offsets(
    cluster: Cluster, group: str, partitions: list[TopicPartition]
) -> list[TopicPartition]:
    """Return the committed offsets, without those of transactions that are still open.

    `group` is without prefix. Raises KafkaException.
    """
    with closing(reader(cluster, group, **{"isolation.level": "read_uncommitted"})) as consumer:
        return consumer.committed(partitions, timeout=10)


def existing(
    consumer: Consumer, names: Iterable[str], seconds: float = TIMEOUT
) -> dict[str, TopicMetadata]:
    """Return the metadata of those topics, with their prefixes, that exist and that we may see.

    One request each: the metadata of a whole cluster takes the broker and us 50 ms for each 1,000
    topics of others. Raises KafkaException.
    """
    found = {name: consumer.list_topics(name, timeout=seconds).topics[name] for name in names}
    return {name: topic for name, topic in found.items() if topic.error is None}


def partitions(consumer: Consumer, topic: str) -> list[int]:
    """Return the topic's partition numbers. `topic` is with the prefix. Raises KafkaException."""
    metadata = consumer.list_topics(topic, timeout=TIMEOUT).topics[topic]
    if metadata.error is not None:
        raise KafkaException(metadata.error)
    return sorted(metadata.partitions)


def read(
    consumer: Consumer,
    topic: str,
    numbers: Collection[int],
    *,
    start: int = OFFSET_BEGINNING,
    follow: bool = False,
    seconds: float | None = None,
) -> Iterator[Message]:
    """Yield the records of these partitions up to their current end, or endlessly with `follow`.
    `topic` is with the prefix. Raises KafkaException, also when it takes more than `seconds`.
    """
    consumer.assign([TopicPartition(topic, number, start) for number in numbers])
    deadline = None if seconds is None else time.monotonic() + seconds
    unread = set(numbers)
    while unread or follow:
        if deadline is not None and time.monotonic() > deadline:
            late = f"{topic} could not be read within {seconds:.0f} s"
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, late))
        for message in consumer.consume(_BATCH, _POLL_SECONDS):
            error = message.error()
            if error is None:
                yield message
            elif error.code() == KafkaError._PARTITION_EOF:
                unread.discard(message.partition() or 0)
            elif not error.retriable():
                raise KafkaException(error)


class NoSuchTopic(Exception):
    """The topic does not exist, or we may not see it; the message lists the visible topics."""


def records(
    cluster: Cluster,
    topic: str,
    from_beginning: bool,
    exit_at_end: bool,
    group: str = "linkstatus-tail",
) -> Iterator[Message]:
    """Yield the records of a topic as they arrive. Raises NoSuchTopic, KafkaException."""
    # librdkafka would log a line for each failed attempt to connect; the exception says it once.
    # The end of a partition is an empty fetch: the broker must not hold it back.
    wait = {"fetch.wait.max.ms": 10} if exit_at_end else {}
    with closing(reader(cluster, group, log_level=0, **wait)) as consumer:
        name = cluster.topic(topic)
        start = OFFSET_BEGINNING if from_beginning else OFFSET_END
        numbers = _visible_partitions(consumer, name)
        yield from read(consumer, name, numbers, start=start, follow=not exit_at_end)


def _visible_partitions(consumer: Consumer, name: str) -> list[int]:
    if found := existing(consumer, [name]):
        return sorted(found[name].partitions)
    topics = consumer.list_topics(timeout=TIMEOUT).topics
    visible = ", ".join(sorted(topic for topic in topics if not topic.startswith("__")))
    raise NoSuchTopic(
        f"topic {name} does not exist, or its access rights hide it; "
        f"visible topics: {visible or 'none'}"
    )
