"""Reading dead letters, and what was replayed before, from their topics: committed records only."""

from collections.abc import Iterator
from typing import Any, cast

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from connectors.kafka import Cluster
from connectors.letters.letter import Letter, Place, Wanted
from schemas.codec import BadRecord
from schemas.records import Replay
from schemas.topics import DEAD_LETTERS, REPLAYS, Topic

_TIMEOUT = 15.0
_BATCH = 500


class NoSuchLetter(Exception):
    """There is no dead letter at that place; the message says where one looked."""


def letters(cluster: Cluster, wanted: Wanted) -> Iterator[Letter]:
    """The wanted ones that stand there now, oldest first in each partition. Raises KafkaException,
    and NoSuchLetter for a place without one.
    """
    for place in wanted.places:
        yield from (found for found in [_at(cluster, place)] if wanted.includes(found))
    if wanted.places:
        return
    for message in _all(cluster, DEAD_LETTERS):
        letter = _letter(message)
        if wanted.includes(letter):
            yield letter


def replays(cluster: Cluster) -> Iterator[Replay]:
    """Every replay that is still known."""
    for message in _all(cluster, REPLAYS):
        try:
            yield cast("Replay", REPLAYS.codec and REPLAYS.codec.decode(message.value()))
        except BadRecord:
            continue  # what somebody else wrote there


def _at(cluster: Cluster, place: Place) -> Letter:
    consumer = _consumer(cluster)
    try:
        name = cluster.topic(DEAD_LETTERS.name)
        if place.partition not in _partitions(consumer, name):
            raise NoSuchLetter(f"there is no dead letter {place}")
        consumer.assign([TopicPartition(name, *place)])
        message = consumer.poll(_TIMEOUT)
    finally:
        consumer.close()
    if message is None or message.error() or message.offset() != place.offset:
        raise NoSuchLetter(f"there is no dead letter {place}; they are kept for 35 days")
    return _letter(message)


def _all(cluster: Cluster, topic: Topic[Any]) -> Iterator[Message]:
    """The topic up to its present end."""
    consumer = _consumer(cluster)
    try:
        name = cluster.topic(topic.name)
        unread = set(_partitions(consumer, name))
        consumer.assign([TopicPartition(name, number, OFFSET_BEGINNING) for number in unread])
        while unread:
            for message in consumer.consume(_BATCH, 0.1):
                error = message.error()
                if error is None:
                    yield message
                elif error.code() == KafkaError._PARTITION_EOF:
                    unread.discard(message.partition() or 0)
                elif not error.retriable():
                    raise KafkaException(error)
    finally:
        consumer.close()


def _consumer(cluster: Cluster) -> Consumer:
    return Consumer(
        {
            **cluster.librdkafka(),
            # Asked for by the client, joined by nobody: partitions are assigned by hand.
            "group.id": f"{cluster.prefix}linkstatus-letters",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
            "fetch.wait.max.ms": 100,
        }
    )


def _partitions(consumer: Consumer, name: str) -> list[int]:
    found = consumer.list_topics(name, timeout=_TIMEOUT).topics[name]
    if found.error is not None:
        raise KafkaException(found.error)
    return sorted(found.partitions)


def _letter(message: Message) -> Letter:
    key, value = message.key(), message.value()
    return Letter(
        Place(message.partition() or 0, message.offset() or 0),
        message.timestamp()[1] * 1000,
        key if isinstance(key, bytes) else None,
        tuple(cast("list[tuple[str, bytes]]", message.headers() or [])),
        value if isinstance(value, bytes) else None,
    )
