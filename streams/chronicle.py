"""Everything that came in from outside, in the order in which it came: all partitions of several
topics merged by the time of their records.
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

from connectors import ungrouped
from connectors.kafka import Cluster
from streams.engine.batch import headers_of
from streams.serial import Record

# Records held of each partition: so many at most, and fetched again below the second figure.
_FULL, _LOW = 4_000, 1_000

Place = tuple[str, int]


@dataclass(slots=True)
class _Lane:
    """One partition: what is held of it, and whether it has been read to its end."""

    rank: int
    held: deque[Record] = field(default_factory=deque)
    ended: bool = False
    paused: bool = False


class Chronicle:
    """The records of `topics` (without prefix) that are there now. Of two of the same millisecond
    the one whose topic is named first comes first.
    """

    def __init__(self, cluster: Cluster, topics: Iterable[str]) -> None:
        self._cluster = cluster
        self._consumer = ungrouped.reader(
            cluster, "linkstatus.chronicle", **{"queued.max.messages.kbytes": 16_384}
        )
        self._lanes = {
            (topic, number): _Lane(rank)
            for rank, topic in enumerate(topics)
            for number in ungrouped.partitions(self._consumer, cluster.topic(topic))
        }
        extents = {place: self._extent(place) for place in self._lanes}
        self.total = sum(high - low for low, high in extents.values())
        # Of these the oldest records are no longer kept.
        self.cut = {place for place, (low, _) in extents.items() if low > 0}

    def partitions(self, topic: str) -> int:
        """How many the topic has."""
        return sum(name == topic for name, _ in self._lanes)

    def _extent(self, place: Place) -> tuple[int, int]:
        low, high = self._consumer.get_watermark_offsets(self._of(place), timeout=ungrouped.TIMEOUT)
        return int(low), int(high)

    def _of(self, place: Place, offset: int = OFFSET_BEGINNING) -> TopicPartition:
        return TopicPartition(self._cluster.topic(place[0]), place[1], offset)

    def read(self) -> Iterator[Record]:
        """All of them, each once."""
        self._consumer.assign([self._of(place) for place in self._lanes])
        try:
            while True:
                self._fill()
                if not any(lane.held for lane in self._lanes.values()):
                    return
                yield self._earliest().held.popleft()
        finally:
            self._consumer.close()

    def _earliest(self) -> _Lane:
        return min(
            (lane for lane in self._lanes.values() if lane.held),
            key=lambda lane: (lane.held[0].at, lane.rank, lane.held[0].number),
        )

    def _fill(self) -> None:
        """Reads until something is held of every partition that has not ended."""
        while any(not lane.held and not lane.ended for lane in self._lanes.values()):
            self._resume()
            for message in self._consumer.consume(1_000, 0.1):
                self._take(message)

    def _take(self, message: Message) -> None:
        topic, number = message.topic() or "", message.partition() or 0
        place = topic.removeprefix(self._cluster.prefix), number
        lane, error = self._lanes[place], message.error()
        if error is not None:
            if error.code() != KafkaError._PARTITION_EOF:
                raise KafkaException(error)
            lane.ended = True
        elif not lane.ended:
            lane.held.append(_as_record(place, message))
        if (lane.ended or len(lane.held) >= _FULL) and not lane.paused:
            # A record that is fetched already may still come: it is simply held, too.
            lane.paused = True
            self._consumer.pause([self._of(place)])

    def _resume(self) -> None:
        for place, lane in self._lanes.items():
            if lane.paused and not lane.ended and len(lane.held) < _LOW:
                lane.paused = False
                self._consumer.resume([self._of(place)])


def _as_record(place: Place, message: Message) -> Record:
    return Record(
        place[0],
        message.key(),
        message.value(),
        headers_of(message),
        message.timestamp()[1],
        place[1],
        message.offset() or 0,
    )
