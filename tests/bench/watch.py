"""Reads the committed outputs, like a downstream service."""

import time
from collections import Counter
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, KafkaException, TopicPartition

from connectors.kafka import topic_reader
from connectors.kafka.cluster import Cluster
from schemas import topics
from tests.bench.expected import Expected, comparable, event_id

_TOPICS = (topics.LINK_STATUS, topics.ORDER_CLOSE, topics.SETTLEMENT, topics.DEAD_LETTERS)


class Watch:
    """Reads the outputs while an engine runs. It decodes rows only once all else is complete."""

    def __init__(self, cluster: Cluster, partitions: int, expected: Expected) -> None:
        self._expected = expected
        self._of = {cluster.topic(topic.name): topic for topic in _TOPICS}
        self._rows: dict[bytes, bytes] = {}
        self._unchecked: set[bytes] = set()
        self._wrong: set[bytes] = set()
        self._ids: dict[str, Counter[str]] = {topic.name: Counter() for topic in _TOPICS}
        self.dead_letters = 0
        # When the newest record was seen.
        self.last_at = 0.0
        options = {"enable.partition.eof": False, "fetch.wait.max.ms": 50}
        self._consumer = topic_reader.reader(cluster, "watch", **options)
        self._consumer.assign(
            [
                TopicPartition(name, number, OFFSET_BEGINNING)
                for name in self._of
                for number in range(partitions)
            ]
        )

    def poll(self) -> None:
        """Take the available records; wait a moment if there are none."""
        messages = self._consumer.consume(1, 0.05)
        if messages:
            messages += self._consumer.consume(20_000, 0)
            self.last_at = time.time()
        for message in messages:
            if message.error():
                raise KafkaException(message.error())
            self._take(self._of[message.topic() or ""].name, message)

    def _take(self, topic: str, message: Any) -> None:
        if topic == topics.LINK_STATUS.name:
            self._rows[message.key()] = message.value()
            self._unchecked.add(message.key())
        elif topic == topics.DEAD_LETTERS.name:
            self.dead_letters += 1
        else:
            self._ids[topic][event_id(message.headers())] += 1

    def complete(self) -> bool:
        """Whether all expected outputs are there, every row included."""
        if self.missing():
            return False
        for key in self._unchecked:
            right = self._expected.rows.get(key) == comparable(self._rows[key])
            (self._wrong.discard if right else self._wrong.add)(key)
        self._unchecked.clear()
        return not self._wrong

    def missing(self) -> int:
        """Return the number of outputs that have not come yet."""
        expected = self._expected
        return (
            max(0, len(expected.closes) - len(self._ids[topics.ORDER_CLOSE.name]))
            + max(0, len(expected.settlements) - len(self._ids[topics.SETTLEMENT.name]))
            + max(0, expected.dead_letters - self.dead_letters)
            + max(0, len(expected.rows) - len(self._rows))
        )

    def differences(self) -> dict[str, int]:
        """Return the number of differences from the expected outputs, by kind."""
        expected = self._expected
        closes, settlements = self._ids[topics.ORDER_CLOSE.name], self._ids[topics.SETTLEMENT.name]
        self.complete()
        counts = {
            "closes": len(expected.closes ^ closes.keys()),
            "closes repeated": closes.total() - len(closes),
            "settlements": len(expected.settlements ^ settlements.keys()),
            "settlements repeated": settlements.total() - len(settlements),
            "dead letters": abs(expected.dead_letters - self.dead_letters),
            "rows": len(expected.rows.keys() ^ self._rows.keys()) + len(self._wrong),
        }
        return {kind: count for kind, count in counts.items() if count}

    def close(self) -> None:
        self._consumer.close()
