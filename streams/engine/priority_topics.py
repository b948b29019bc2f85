"""Priority topics: their backlog is consumed before anything from a stage's other topics.

A broker sends records of different topics in any order. After a pause, a stage would otherwise
handle a registration after the payment that it preceded by days.
"""

import logging
import time
from collections.abc import Callable, Iterable

from confluent_kafka import Consumer, Message, TopicPartition

log = logging.getLogger(__name__)

# Transaction markers take offsets too, so the end offset may never be reached.
_QUIET_SECONDS = 2.0


class PriorityTopics:
    """Pauses partitions of other topics until the priority partitions reach their end offsets.

    The end offsets are those at the time of the assignment. This holds within one worker: each
    worker waits only for its own partitions. `names` are the topics, with prefix.
    """

    def __init__(
        self,
        consumer: Consumer,
        names: Iterable[str],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._monotonic = monotonic
        self._consumer = consumer
        self._names = frozenset(names)
        self._ends: dict[tuple[str, int], int] = {}
        self._paused: dict[tuple[str, int], TopicPartition] = {}
        self._last_record_at = 0.0

    def on_assign(
        self,
        partitions: Iterable[TopicPartition],
        offsets: Callable[[str, int], tuple[int, int]],
    ) -> None:
        """Wait for the backlog in `partitions`, which start at their offsets. `offsets` returns the
        first and the end offset of a partition. (On the consumer's own connection each question
        would wait for the fetch under way.)
        """
        for partition in partitions:
            if partition.topic in self._names:
                low, high = offsets(partition.topic, partition.partition)
                if max(partition.offset, low) < high:
                    self._ends[partition.topic, partition.partition] = high
        if self._ends:
            self._last_record_at = self._monotonic()
            others = [p for p in self._consumer.assignment() if p.topic not in self._names]
            self._consumer.pause(others)
            self._paused = {(p.topic, p.partition): p for p in others}

    def on_revoke(self) -> None:
        """Resume everything: librdkafka keeps a pause over the next assignment."""
        self._consumer.resume(list(self._paused.values()))
        self._ends.clear()
        self._paused.clear()

    def on_consume(self, messages: Iterable[Message]) -> None:
        """Resume the other partitions if these messages, or their absence, end the backlog."""
        if not self._paused:
            return
        for message in messages:
            self._last_record_at = self._monotonic()
            partition = message.topic() or "", message.partition() or 0
            if (message.offset() or 0) + 1 >= self._ends.get(partition, 0):
                self._ends.pop(partition, None)
        if self._ends and self._monotonic() - self._last_record_at < _QUIET_SECONDS:
            return
        log.info(
            "%s: backlog consumed, %d partitions resumed", ", ".join(self._names), len(self._paused)
        )
        self._ends.clear()
        self._consumer.resume(list(self._paused.values()))
        self._paused.clear()
