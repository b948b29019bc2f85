"""Reads the pipeline's topics from another Python service: decoded, committed, at least once.

`from streams import consume` is the whole interface::

    from schemas.topics import ORDER_CLOSE
    from streams import consume

    with consume(ORDER_CLOSE, group="invoicing", drop_repeats=True) as records:
        for record in records:
            close_invoice(record.value["order_id"], record.value["total_minor"])

`total_minor` is None if the amount was not known in time: close the order all the same, and book
its money when `ORDER_CORRECTIONS` tells the amount.

With asyncio, use `async with` and `async for`: a thread then waits for Kafka.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from math import inf
from typing import Any, Generic, TypeVar

from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient

from connectors.clock import micros_of
from connectors.kafka.cluster import Cluster
from connectors.reasons import reason_of
from connectors.schema_registry import noted_ids
from schemas.codec import BadRecord
from schemas.headers import headers_of
from schemas.topics import Topic
from streams import kafka_settings

log = logging.getLogger(__name__)

T = TypeVar("T")

# The client's default.
_SESSION_MS = 45_000
# How often a member without partitions asks the broker about its group, and how long it waits.
_GROUP_SECONDS = 1.0
_ANSWER_SECONDS = 5.0
# How often the same trouble is logged.
_REPORT_SECONDS = 60.0
# The event ids remembered to drop repeats: a crash of the pipeline repeats far fewer events.
_REMEMBERED = 100_000


@dataclass(frozen=True, slots=True)
class Consumed(Generic[T]):
    """A record of one of the pipeline's topics. `topic` is without prefix, `timestamp` in
    microseconds, UTC. `event_id` is None where records are states and not events.
    """

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: str
    value: T
    event_id: str | None
    headers: dict[str, bytes]


class UnreadableRecord(ValueError):
    """The record does not fit its topic's schema; the message tells its origin and the reason."""


class consume(Generic[T]):
    """The records of `topic`, for a member of the consumer group `group`.

    A record is done when the next one is requested. The offsets of done records are committed every
    few seconds and at the end. After an error the current record comes again, and after a crash
    also a few before it. `drop_repeats` drops those whose `event_id` this process has seen. For an
    exact guarantee, store the `event_id` in the transaction that acts on the event.

    A record that cannot be decoded raises UnreadableRecord, now and at each start. With
    `on_unreadable` the function gets the error instead, and the next record follows. A record that
    needs more than `max_seconds` goes to another member of the group, and may come again here.

    Deletions in a compacted topic are left out. A group without committed offsets starts at the
    first record. With `until_end` iteration stops at the present end of this member's partitions,
    and at once for a member that gets no partitions. `cluster` replaces the cluster of the settings
    (`LINKSTATUS_BROKERS` and so on).

    Raises BadSettings, KafkaException, SchemaAway, UnreadableRecord.
    """

    def __init__(
        self,
        topic: Topic[T],
        *,
        group: str,
        cluster: Cluster | None = None,
        drop_repeats: bool = False,
        until_end: bool = False,
        on_unreadable: Callable[["UnreadableRecord"], None] | None = None,
        max_seconds: float = 300.0,
    ) -> None:
        self._topic = topic
        self._group = group
        self._until_end = until_end
        self._on_unreadable = on_unreadable
        self._stopping = False
        self._next: asyncio.Future[Consumed[T] | None] | None = None
        self._seen: OrderedDict[str, None] | None = OrderedDict() if drop_repeats else None
        self._ask_group_at = 0.0
        # When each trouble was logged last.
        self._reported: dict[str, float] = {}
        self._open(cluster, max_seconds)

    def _open(self, cluster: Cluster | None, max_seconds: float) -> None:
        """Set the topic's name on the cluster, the codecs and the client."""
        registry_url = None
        if cluster is None:
            here = kafka_settings.load()
            cluster, registry_url = here.cluster(), here.schema_registry_url
        self._cluster = cluster
        self._name = cluster.topic(self._topic.name)
        self._codecs = noted_ids.reader(cluster, registry_url)
        self._consumer = Consumer(
            {
                **cluster.librdkafka(),
                "group.id": self._group,
                "isolation.level": "read_committed",
                "auto.offset.reset": "earliest",
                "partition.assignment.strategy": "cooperative-sticky",
                "max.poll.interval.ms": int(max_seconds * 1000),
                "session.timeout.ms": min(_SESSION_MS, int(max_seconds * 1000)),
                # `_done` stores an offset, and the client commits it in the background.
                "enable.auto.offset.store": False,
                "enable.partition.eof": self._until_end,
                # The client would report each attempt to connect, in its own words.
                "log_level": 0,
                "error_cb": self._report,
            },
        )

    def _report(self, error: KafkaError) -> None:
        """Log what keeps the client from the cluster, and not more than once a minute: it tries
        again by itself.
        """
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            trouble = f"no Kafka broker answers at {self._cluster.brokers}"
        elif error.code() == KafkaError._TRANSPORT:
            return  # one broker of several, or the above follows
        else:
            trouble = reason_of(error)
        now = time.monotonic()
        if now >= self._reported.get(trouble, -inf) + _REPORT_SECONDS:
            self._reported[trouble] = now
            log.warning("%s: %s; trying again", self._name, trouble)

    @cached_property
    def _admin(self) -> AdminClient:
        # Each request reports its own failure.
        return AdminClient({**self._cluster.librdkafka(), "log_level": 0})

    def __enter__(self) -> Iterator[Consumed[T]]:
        self._consumer.subscribe([self._name])
        # Most members have their partitions before there is a reason to ask.
        self._ask_group_at = time.monotonic() + _GROUP_SECONDS
        return self._records()

    def __exit__(self, *_: object) -> None:
        # Commits the stored offsets. The current record at an error is not stored: it comes again.
        self._consumer.close()

    async def __aenter__(self) -> AsyncIterator[Consumed[T]]:
        return self._from_thread(await asyncio.to_thread(self.__enter__))

    async def __aexit__(self, *_: object) -> None:
        self._stopping = True
        if self._next is not None:
            # A cancelled caller leaves a thread that still polls.
            await asyncio.wait([self._next])
        await asyncio.to_thread(self.__exit__)

    async def _from_thread(self, records: Iterator[Consumed[T]]) -> AsyncIterator[Consumed[T]]:
        while True:
            self._next = asyncio.ensure_future(asyncio.to_thread(next, records, None))
            record = await asyncio.shield(self._next)
            if record is None:
                return
            yield record

    def _records(self) -> Iterator[Consumed[T]]:
        at_end: set[int] = set()
        while not (self._stopping or (self._until_end and self._is_at_end(at_end))):
            # One record a poll: each poll tells the group that this member is alive.
            message = self._consumer.poll(0.1)
            if message is None:
                continue
            error = message.error()
            if error is None:
                at_end.discard(message.partition() or 0)
                if message.value() is not None and not self._is_repeat(message):
                    yield from self._readable(message)
                self._done(message)
            elif error.code() == KafkaError._PARTITION_EOF:
                at_end.add(message.partition() or 0)
            elif error.code() == KafkaError._MAX_POLL_EXCEEDED:
                # The next poll joins the group again.
                log.warning("%s: the last record took too long", self._name)
            elif not error.retriable():
                raise KafkaException(error)

    def _readable(self, message: Message) -> Iterator[Consumed[T]]:
        try:
            record = self._decoded(message)
        except UnreadableRecord as error:
            if self._on_unreadable is None:
                raise
            self._on_unreadable(error)
        else:
            yield record

    def _is_at_end(self, at_end: set[int]) -> bool:
        assigned = {partition.partition for partition in self._consumer.assignment()}
        return assigned <= at_end if assigned else self._others_have_all()

    def _others_have_all(self) -> bool:
        """Whether the group is stable, and other members have all partitions. Asks now and then."""
        if time.monotonic() < self._ask_group_at:
            return False
        try:
            # `describe_consumer_groups` ends the process with an assertion if the coordinator goes
            # away meanwhile (github.com/confluentinc/librdkafka/issues/4605).
            groups: Any = self._admin.list_groups(self._group, timeout=_ANSWER_SECONDS)
            topics = self._consumer.list_topics(self._name, _ANSWER_SECONDS).topics
        except KafkaException as error:
            # A broker that has just started may not answer for a while.
            log.warning(
                "%s: cannot describe the group %s: %s", self._name, self._group, reason_of(error)
            )
            return False
        finally:
            self._ask_group_at = time.monotonic() + _GROUP_SECONDS
        # Before this member has joined, and during a rebalance, it may still get partitions.
        stable = [group for group in groups if group.state == "Stable"]
        partitions = {
            member.id: _assigned(member.assignment, self._name)
            for group in stable
            for member in group.members
        }
        if partitions.pop(self._consumer.memberid(), None) is None:
            return False
        return set().union(*partitions.values()) >= set(topics[self._name].partitions)

    def _done(self, message: Message) -> None:
        offset = TopicPartition(self._name, message.partition() or 0, (message.offset() or 0) + 1)
        try:
            self._consumer.store_offsets(offsets=[offset])
        except KafkaException as error:
            # The partition has moved to another member, which will get the record again.
            if error.args[0].code() != KafkaError._STATE:
                raise

    def _is_repeat(self, message: Message) -> bool:
        event_id = _event_id(message)
        if self._seen is None or event_id is None:
            return False
        is_repeat = event_id in self._seen
        self._seen[event_id] = None
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        return is_repeat

    def _decoded(self, message: Message) -> Consumed[T]:
        partition, offset = message.partition() or 0, message.offset() or 0
        key, value = message.key(), message.value()
        try:
            schema = self._topic.schema
            content: Any = self._codecs.decode(schema, value) if schema else value
        except BadRecord as error:
            origin = f"{self._topic.name}/{partition}/{offset}"
            raise UnreadableRecord(f"{origin}: {error}") from error
        return Consumed(
            topic=self._topic.name,
            partition=partition,
            offset=offset,
            timestamp=micros_of(message.timestamp()[1]),
            key=key.decode(errors="replace") if isinstance(key, bytes) else "",
            value=content,
            event_id=_event_id(message),
            headers=dict(headers_of(message)),
        )


def _assigned(assignment: bytes, topic: str) -> set[int]:
    """Return the partitions of `topic` in a member's assignment, as Kafka's message
    ConsumerProtocolAssignment has it.
    """
    partitions: set[int] = set()
    read = BytesIO(assignment).read

    def number(size: int) -> int:
        return int.from_bytes(read(size), signed=True)

    number(2)  # the version: the later ones only add fields at the end
    for _ in range(number(4)):
        name = read(number(2)).decode()
        numbers = [number(4) for _ in range(number(4))]
        partitions |= set(numbers) if name == topic else set()
    return partitions


def _event_id(message: Message) -> str | None:
    """Return the header `event-id`. Another producer may have written anything there."""
    for name, value in headers_of(message):
        if name == "event-id":
            return value.decode(errors="replace")
    return None
