"""Read dead letters, replays and notices from their topics; committed records only."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any, TypeVar

from confluent_kafka import Consumer, Message, TopicPartition

from connectors.clock import micros_of
from connectors.kafka import topic_reader
from connectors.kafka.cluster import Cluster
from connectors.triage.dead_letter import DeadLetter, Place
from connectors.triage.filter import Filter
from schemas.codec import BadRecord, Codecs
from schemas.headers import headers_of
from schemas.records import Notice, Replay
from schemas.topics import DEAD_LETTERS, NOTICES, REPLAYS, Topic

T = TypeVar("T")


class NoSuchDeadLetter(Exception):
    """There is no dead letter at that place; the message names it."""


def dead_letters(cluster: Cluster, where: Filter) -> Iterator[DeadLetter]:
    """The matching dead letters on the topic now, oldest first in each partition. Raises
    KafkaException, and NoSuchDeadLetter for a place without one.
    """
    if where.places:
        return filter(where.matches, (_at(cluster, place) for place in where.places))
    return filter(where.matches, map(_dead_letter, _all(cluster, DEAD_LETTERS)))


def replays(cluster: Cluster, codecs: Codecs) -> Iterator[Replay]:
    """Every replay that the topic still holds."""
    return _records(cluster, codecs, REPLAYS)


def notices(cluster: Cluster, codecs: Codecs) -> Iterator[Notice]:
    """Every notice that the topic still holds."""
    return _records(cluster, codecs, NOTICES)


def _records(cluster: Cluster, codecs: Codecs, topic: Topic[T]) -> Iterator[T]:
    assert topic.schema  # noqa: S101 (these topics have one)
    for message in _all(cluster, topic):
        try:
            yield codecs.decode(topic.schema, message.value())
        except BadRecord:
            continue  # another program wrote it


def _at(cluster: Cluster, place: Place) -> DeadLetter:
    name = cluster.topic(DEAD_LETTERS.name)
    with _reader(cluster) as consumer:
        if place.partition not in topic_reader.partitions(consumer, name):
            raise NoSuchDeadLetter(f"there is no dead letter {place}")
        consumer.assign([TopicPartition(name, *place)])
        message = consumer.poll(topic_reader.TIMEOUT)
    if message is None or message.error() or message.offset() != place.offset:
        raise NoSuchDeadLetter(f"there is no dead letter {place}; Kafka keeps them for 35 days")
    return _dead_letter(message)


def _all(cluster: Cluster, topic: Topic[Any]) -> Iterator[Message]:
    """The topic up to its present end."""
    name = cluster.topic(topic.name)
    with _reader(cluster) as consumer:
        yield from topic_reader.read(consumer, name, topic_reader.partitions(consumer, name))


def _reader(cluster: Cluster) -> closing[Consumer]:
    # The end of a topic is known after one fetch: a short one ends a command sooner.
    return closing(topic_reader.reader(cluster, "linkstatus-triage", **{"fetch.wait.max.ms": 10}))


def _dead_letter(message: Message) -> DeadLetter:
    key, value = message.key(), message.value()
    return DeadLetter(
        Place(message.partition() or 0, message.offset() or 0),
        micros_of(message.timestamp()[1]),
        key if isinstance(key, bytes) else None,
        tuple(headers_of(message)),
        value if isinstance(value, bytes) else None,
    )
