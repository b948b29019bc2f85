"""Some topics come first: what waited in them is taken before anything of a stage's other topics.

A worker that comes back to a backlog would otherwise take records of different topics in whatever
order the broker hands them over, and a registration after the payment that it preceded by days.
"""

import logging
import time
from collections.abc import Iterable

from confluent_kafka import Consumer, Message, TopicPartition

log = logging.getLogger(__name__)

_TIMEOUT = 10.0
# Markers of transactions take offsets too: an end that only they stand before is never reached.
_QUIET_SECONDS = 2.0

_Place = tuple[str, int]


class Precedence:
    """Holds partitions of other topics back until those of `first` (with prefix) have reached the
    end they had when they were assigned. Within one worker: what another one has, it takes itself.
    """

    def __init__(self, consumer: Consumer, first: Iterable[str]) -> None:
        self._consumer = consumer
        self._first = frozenset(first)
        self._awaited: dict[_Place, int] = {}
        self._held: dict[_Place, TopicPartition] = {}
        self._heard_at = 0.0

    def assigned(self, partitions: Iterable[TopicPartition]) -> None:
        """These are ours now, from their offsets on. Raises KafkaException."""
        for partition in partitions:
            if partition.topic in self._first:
                low, high = self._consumer.get_watermark_offsets(partition, timeout=_TIMEOUT)
                if max(partition.offset, low) < high:
                    self._awaited[partition.topic, partition.partition] = high
        if self._awaited:
            self._heard_at = time.monotonic()
            others = [p for p in self._consumer.assignment() if p.topic not in self._first]
            self._consumer.pause(others)
            self._held = {(p.topic, p.partition): p for p in others}

    def gone(self, partitions: Iterable[TopicPartition]) -> None:
        """These are no longer ours."""
        for partition in partitions:
            place = partition.topic, partition.partition
            self._awaited.pop(place, None)
            self._held.pop(place, None)

    def took(self, messages: Iterable[Message]) -> None:
        """These were taken, perhaps none: lets the others go once nothing is awaited any more."""
        if not self._held:
            return
        for message in messages:
            self._heard_at = time.monotonic()
            place = message.topic() or "", message.partition() or 0
            if (message.offset() or 0) + 1 >= self._awaited.get(place, 0):
                self._awaited.pop(place, None)
        if self._awaited and time.monotonic() - self._heard_at < _QUIET_SECONDS:
            return
        log.info("%s caught up: %d partitions go on", ", ".join(self._first), len(self._held))
        self._awaited.clear()
        self._consumer.resume(list(self._held.values()))
        self._held.clear()
