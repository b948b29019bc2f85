"""Topics in memory, and a `consume` that reads them as `streams.consume` reads Kafka."""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, TypeVar, cast

from confluent_kafka import Consumer, Message, TopicPartition

from connectors.kafka.cluster import Cluster
from schemas.cloud_events import event_headers
from schemas.codec import Codecs
from schemas.headers import Headers
from schemas.topics import Topic, message_key
from streams.consumer import UnreadableRecord, consume
from streams.testing.events import AT, checked

T = TypeVar("T")
# The field of a record that its key names, by the kind of key.
_KEY_FIELDS = {"link": "link_id", "order": "order_id", "payout": "payout_id", "day": "day"}
_COMMIT_RATE = 0.5


class Crashed(BaseException):
    """The process that consumes was killed: what it did not commit comes again.

    Like a kill, it passes a service's handlers of Exception.
    """


@dataclass(frozen=True, slots=True)
class _Stored:
    key: bytes
    value: bytes
    headers: Headers


@dataclass(slots=True)
class _Group:
    """The offsets of a consumer group in one topic, by partition, and where it has crashed."""

    committed: dict[int, int] = field(default_factory=dict)
    crashed: set[tuple[int, int]] = field(default_factory=set)


class InMemoryKafka:
    """What a service may meet, without Kafka.

    Records of one key are read in the order in which they were published; others in any order,
    which `seed` chooses. With `repeats` the records of each `publish` come twice, as after a crash
    of the pipeline: with the same event id, at another offset. With `crashes` the process is killed
    once after it has acted on a record and before that is committed; records that it acted on
    before may come again, too.
    """

    def __init__(self, *, seed: int = 0, repeats: bool = False, crashes: bool = False) -> None:
        self.random = Random(seed)  # noqa: S311 (no secret)
        self.crashes = crashes
        self._repeats = repeats
        self.codecs = Codecs()
        self._partitions: dict[bytes, int] = {}
        self._topics: dict[str, dict[int, list[_Stored]]] = {}
        self._groups: dict[tuple[str, str], _Group] = {}

    def publish(self, topic: Topic[T], *records: T) -> None:
        """Append events or states. Raises BadRecord for one that does not fit the topic's schema,
        and ValueError for a topic that other programs do not read.
        """
        self._append(topic, [self._stored(topic, record) for record in records])

    def publish_bytes(self, topic: Topic[Any], key: str, value: bytes) -> None:
        """Append a record as it is: what does not fit the topic's schema is unreadable."""
        self._append(topic, [_Stored(key.encode(), value, [])])

    def _append(self, topic: Topic[Any], records: list[_Stored]) -> None:
        for record in records * (2 if self._repeats else 1):
            # Each key has a partition of its own, so no order is kept between keys.
            number = self._partitions.setdefault(record.key, len(self._partitions))
            self.partitions(topic.name).setdefault(number, []).append(record)

    def _stored(self, topic: Topic[Any], record: Any) -> _Stored:
        schema, key_field = topic.schema, _KEY_FIELDS.get(topic.key)
        if schema is None or key_field is None or not topic.public:
            raise ValueError(f"the test kit has no records of {topic.name}")
        key = message_key(record["provider"], record[key_field])
        value = self.codecs.encode(schema, checked(schema, record))
        headers = event_headers(schema, key, record) if "event_id" in record else []
        return _Stored(key, value, headers)

    def consume(
        self,
        topic: Topic[T],
        *,
        group: str,
        cluster: Cluster | None = None,
        drop_repeats: bool = False,
        until_end: bool = True,
        on_unreadable: Callable[[UnreadableRecord], None] | None = None,
        max_seconds: float = 300.0,
    ) -> consume[T]:
        """As `streams.consume`, but it always ends at the end of the topic."""
        return _InMemoryConsume(
            self, topic, group=group, drop_repeats=drop_repeats, on_unreadable=on_unreadable
        )

    def run(self, service: Callable[[], T]) -> T:
        """Call a service that consumes, again after each crash, until it returns."""
        while True:
            try:
                return service()
            except Crashed:
                continue

    def partitions(self, topic: str) -> dict[int, list[_Stored]]:
        """Return the records of a topic by partition."""
        return self._topics.setdefault(topic, {})

    def group(self, name: str, topic: str) -> _Group:
        """Return what a consumer group has committed in a topic."""
        return self._groups.setdefault((name, topic), _Group())


class _InMemoryConsume(consume[T]):
    """The code of `streams.consume` on another client."""

    def __init__(self, kafka: InMemoryKafka, topic: Topic[T], **options: Any) -> None:
        self._kafka = kafka
        super().__init__(topic, until_end=True, **options)

    def _open(self, cluster: Cluster | None, max_seconds: float) -> None:
        self._name, self._codecs = self._topic.name, self._kafka.codecs
        self._client = _Client(self._kafka, self._name, self._group)
        self._consumer = cast("Consumer", self._client)

    def _is_at_end(self, at_end: set[int]) -> bool:
        return not self._client.waiting()


class _Client:
    """The methods of `confluent_kafka.Consumer` that `consume` calls, for the only member of a
    group.
    """

    def __init__(self, kafka: InMemoryKafka, topic: str, group: str) -> None:
        self._kafka, self._topic = kafka, topic
        self._group = kafka.group(group, topic)
        self._next = dict(self._group.committed)
        self._done: dict[int, int] = {}
        self._killed = False

    def subscribe(self, topics: list[str]) -> None:
        """Nothing to do: the client has its topic."""

    def waiting(self) -> list[int]:
        """Return the partitions with records that this client has not read."""
        partitions = self._kafka.partitions(self._topic)
        return [n for n, records in partitions.items() if self._next.get(n, 0) < len(records)]

    def poll(self, timeout: float) -> Message:
        """Return the next record of any partition that has one."""
        number = self._kafka.random.choice(self.waiting())
        offset = self._next.get(number, 0)
        self._next[number] = offset + 1
        record = self._kafka.partitions(self._topic)[number][offset]
        return Message(
            topic=self._topic,
            partition=number,
            offset=offset,
            key=record.key,
            value=record.value,
            headers=[*record.headers],
            timestamp=(1, AT // 1000),
        )

    def store_offsets(self, offsets: list[TopicPartition]) -> None:
        """Note what is done, unless the process is killed before. Raises Crashed."""
        (after,) = offsets
        place = after.partition, after.offset
        if self._kafka.crashes and place not in self._group.crashed:
            self._group.crashed.add(place)
            self._killed = True
            raise Crashed(f"{self._topic}/{after.partition}/{after.offset - 1} is not committed")
        self._done[after.partition] = after.offset
        # The real client commits every few seconds.
        if self._kafka.random.random() < _COMMIT_RATE:
            self._group.committed.update(self._done)

    def close(self) -> None:
        """Commit, unless the process was killed."""
        if not self._killed:
            self._group.committed.update(self._done)
