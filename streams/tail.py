"""Reading any topic as it grows: without a group, committed records only."""

from collections.abc import Iterator

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, Message

from connectors import ungrouped
from connectors.kafka import Cluster


class NoSuchTopic(Exception):
    """There is no such topic, or no right to see it; the message names those there are."""


def records(
    cluster: Cluster, topic: str, from_beginning: bool, exit_at_end: bool
) -> Iterator[Message]:
    """The records of a topic as they come. Raises NoSuchTopic, KafkaException."""
    # Each vain try to connect would be a line: how it ends is said once.
    consumer = ungrouped.reader(cluster, "linkstatus-tail", log_level=0)
    try:
        name = cluster.topic(topic)
        start = OFFSET_BEGINNING if from_beginning else OFFSET_END
        numbers = _partitions(consumer, name)
        yield from ungrouped.read(consumer, name, numbers, start=start, follow=not exit_at_end)
    finally:
        consumer.close()


def _partitions(consumer: Consumer, name: str) -> list[int]:
    found = consumer.list_topics(timeout=ungrouped.TIMEOUT).topics
    if name not in found:
        names = ", ".join(sorted(topic for topic in found if not topic.startswith("__")))
        raise NoSuchTopic(
            f"there is no topic {name}, or no right to see it; there are: {names or 'none at all'}"
        )
    return sorted(found[name].partitions)
