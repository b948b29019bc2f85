"""Everything that came in from outside, in its order: all partitions of several topics, merged by
the times of their records.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from confluent_kafka import (
    OFFSET_BEGINNING,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from connectors.kafka import topic_reader
from connectors.kafka.cluster import Cluster
from schemas.headers import headers_of
from streams.rebuild.in_memory import Record

# The most records buffered of each partition, and the number below which it is fetched again.
_FULL, _LOW = 4_000, 1_000

Partition = tuple[str, int]


@dataclass(slots=True)
class _Buffer:
    """The records of one partition that are read and not yielded yet. `rank` is the place of its
    topic in the list of topics; `ended` tells whether the partition is read to its end.
    """

    rank: int
    records: deque[Record] = field(default_factory=deque)
    ended: bool = False
    paused: bool = False


class History:
    """The records that are in `topics` (without prefix) now.

    Of two records of the same millisecond, the one whose topic is named first comes first. `total`
    is the number of their offsets. The oldest records of the partitions in `truncated` are deleted.
    """

    def __init__(self, cluster: Cluster, topics: Iterable[str]) -> None:
        self._cluster = cluster
        self._consumer = topic_reader.reader(
            cluster, "linkstatus.history", **{"queued.max.messages.kbytes": 16_384}
        )
        self._buffers = {
            (topic, number): _Buffer(rank)
            for rank, topic in enumerate(topics)
            for number in topic_reader.partitions(self._consumer, cluster.topic(topic))
        }
        ranges = {partition: self._range(partition) for partition in self._buffers}
        self.total = sum(high - low for low, high in ranges.values())
        self.truncated = {partition for partition, (low, _) in ranges.items() if low > 0}

    def count_partitions(self, topic: str) -> int:
        return sum(name == topic for name, _ in self._buffers)

    def _range(self, partition: Partition) -> tuple[int, int]:
        low, high = self._consumer.get_watermark_offsets(
            self._on_cluster(partition), timeout=topic_reader.TIMEOUT
        )
        return int(low), int(high)

    def _on_cluster(self, partition: Partition) -> TopicPartition:
        topic, number = partition
        return TopicPartition(self._cluster.topic(topic), number, OFFSET_BEGINNING)

    def read(self) -> Iterator[Record]:
        """Yield each record once. Raises KafkaException."""
        self._consumer.assign([self._on_cluster(partition) for partition in self._buffers])
        try:
            while True:
                self._fill()
                filled = [buffer for buffer in self._buffers.values() if buffer.records]
                if not filled:
                    return
                yield min(filled, key=_order).records.popleft()
        finally:
            self._consumer.close()

    def _fill(self) -> None:
        """Read until every partition that has not ended has a record in its buffer."""
        while any(not buffer.records and not buffer.ended for buffer in self._buffers.values()):
            self._resume()
            for message in self._consumer.consume(1_000, 0.1):
                self._add(message)

    def _add(self, message: Message) -> None:
        topic, number = message.topic() or "", message.partition() or 0
        partition = topic.removeprefix(self._cluster.prefix), number
        buffer, error = self._buffers[partition], message.error()
        if error is not None:
            if error.code() != KafkaError._PARTITION_EOF:
                raise KafkaException(error)
            buffer.ended = True
        elif not buffer.ended:
            buffer.records.append(_record(partition, message))
        if (buffer.ended or len(buffer.records) >= _FULL) and not buffer.paused:
            # Records that are fetched already still come, and are buffered too.
            buffer.paused = True
            self._consumer.pause([self._on_cluster(partition)])

    def _resume(self) -> None:
        for partition, buffer in self._buffers.items():
            if buffer.paused and not buffer.ended and len(buffer.records) < _LOW:
                buffer.paused = False
                self._consumer.resume([self._on_cluster(partition)])


def _order(buffer: _Buffer) -> tuple[int, int, int]:
    first = buffer.records[0]
    return first.at, buffer.rank, first.partition_number


def _record(partition: Partition, message: Message) -> Record:
    topic, number = partition
    return Record(
        topic,
        message.key(),
        message.value(),
        headers_of(message),
        message.timestamp()[1],
        number,
        message.offset() or 0,
    )
