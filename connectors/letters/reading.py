"""Reading dead letters, and what people did about them, from their topics: what is committed."""

from collections.abc import Iterator
from typing import Any, cast

from confluent_kafka import Message, TopicPartition

from connectors import ungrouped
from connectors.kafka import Cluster
from connectors.letters.letter import Letter, Place, Wanted
from schemas.codec import BadRecord
from schemas.records import Notice, Replay
from schemas.topics import DEAD_LETTERS, NOTICES, REPLAYS, Topic

_GROUP = "linkstatus-letters"


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
    return cast("Iterator[Replay]", _records(cluster, REPLAYS))


def notices(cluster: Cluster) -> Iterator[Notice]:
    """Every notice that is still known."""
    return cast("Iterator[Notice]", _records(cluster, NOTICES))


def _records(cluster: Cluster, topic: Topic[Any]) -> Iterator[Any]:
    assert topic.codec  # noqa: S101 (these topics have one)
    for message in _all(cluster, topic):
        try:
            yield topic.codec.decode(message.value())
        except BadRecord:
            continue  # what somebody else wrote there


def _at(cluster: Cluster, place: Place) -> Letter:
    consumer = ungrouped.reader(cluster, _GROUP)
    try:
        name = cluster.topic(DEAD_LETTERS.name)
        if place.partition not in ungrouped.partitions(consumer, name):
            raise NoSuchLetter(f"there is no dead letter {place}")
        consumer.assign([TopicPartition(name, *place)])
        message = consumer.poll(ungrouped.TIMEOUT)
    finally:
        consumer.close()
    if message is None or message.error() or message.offset() != place.offset:
        raise NoSuchLetter(f"there is no dead letter {place}; they are kept for 35 days")
    return _letter(message)


def _all(cluster: Cluster, topic: Topic[Any]) -> Iterator[Message]:
    """The topic up to its present end."""
    consumer = ungrouped.reader(cluster, _GROUP)
    try:
        name = cluster.topic(topic.name)
        yield from ungrouped.read(consumer, name, ungrouped.partitions(consumer, name))
    finally:
        consumer.close()


def _letter(message: Message) -> Letter:
    key, value = message.key(), message.value()
    return Letter(
        Place(message.partition() or 0, message.offset() or 0),
        message.timestamp()[1] * 1000,
        key if isinstance(key, bytes) else None,
        tuple(cast("list[tuple[str, bytes]]", message.headers() or [])),
        value if isinstance(value, bytes) else None,
    )
