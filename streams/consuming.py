"""Reading the pipeline's topics from another Python service: decoded, committed, at least once.

`from streams import consume` is the whole interface::

    from schemas.topics import ORDER_CLOSE
    from streams import consume

    with consume(ORDER_CLOSE, group="invoicing", drop_repeats=True) as records:
        for record in records:
            close_invoice(record.value["order_id"], record.value["total_minor"])

With asyncio it is `async with` and `async for`; Kafka is then waited for in a thread.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from types import TracebackType
from typing import Any, Generic, TypeVar

from confluent_kafka import (
    Consumer,
    ConsumerGroupState,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient

from connectors.kafka import Cluster
from schemas.codec import BadRecord
from schemas.topics import Topic
from streams import schema_ids, settings
from streams.engine.batch import headers_of

log = logging.getLogger(__name__)

T = TypeVar("T")

# The client's own: a member whose heart does not beat for so long is given up.
_SESSION_MS = 45_000
# A member without partitions asks so often whether there are any for it, and waits so long to hear.
_GROUP_SECONDS = 1.0
_ANSWER_SECONDS = 5.0
# Ids of events kept to know a repeat by: a crash of the pipeline repeats far fewer.
_REMEMBERED = 100_000


@dataclass(frozen=True, slots=True)
class Consumed(Generic[T]):
    """A record of one of the pipeline's topics. `topic` is without prefix, `timestamp` in
    microseconds, UTC; `event_id` is None where records are states and not events.
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
    """A record is none of its topic's schema; the message names its place and what is wrong."""


class consume(Generic[T]):
    """The records of `topic`, as a member of the consumer group `group`.

    A record counts as done when the next one is asked for; what is done is committed every few
    seconds and at the end. The record in hand at an error comes again, after a crash also a few
    before it: `drop_repeats` leaves out those whose `event_id` this process has seen. For more,
    keep the `event_id` in the transaction that acts on the event.

    A record that cannot be read raises UnreadableRecord, now and at each start; with `unreadable`
    that is told of it instead, and the next one follows. What takes longer than `most_seconds` to
    act on goes to another member of the group, and may come again here.

    Deletions in a compacted topic are left out. A group without committed offsets starts at the
    first record. Ends at the present end of the topic with `until_end`, else never: each member at
    that of its partitions, and at once one for whom the others leave none. The cluster is that of
    the settings (`LINKSTATUS_BROKERS` and so on) unless given.

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
        unreadable: Callable[["UnreadableRecord"], None] | None = None,
        most_seconds: float = 300.0,
    ) -> None:
        self._topic = topic
        self._registry_url: str | None = None
        self._until_end = until_end
        self._unreadable = unreadable
        self._ending = False
        self._asked: asyncio.Future[Consumed[T] | None] | None = None
        self._seen: OrderedDict[str, None] | None = OrderedDict() if drop_repeats else None
        if cluster is None:
            here = settings.load()
            cluster, self._registry_url = here.cluster(), here.schema_registry_url
        self._cluster = cluster
        self._group = group
        self._ask_group_at = 0.0
        self._name = self._cluster.topic(topic.name)
        self._consumer = Consumer(
            {
                **self._cluster.librdkafka(),
                "group.id": group,
                "isolation.level": "read_committed",
                "auto.offset.reset": "earliest",
                "partition.assignment.strategy": "cooperative-sticky",
                "max.poll.interval.ms": int(most_seconds * 1000),
                "session.timeout.ms": min(_SESSION_MS, int(most_seconds * 1000)),
                # Offsets are stored here, once a record is done, and committed in the background.
                "enable.auto.offset.store": False,
                "enable.partition.eof": until_end,
            }
        )

    @cached_property
    def _admin(self) -> AdminClient:
        return AdminClient(self._cluster.librdkafka())

    def __enter__(self) -> Iterator[Consumed[T]]:
        schema_ids.read(self._cluster, self._registry_url)
        self._consumer.subscribe([self._name])
        # Most have their partitions before there is reason to ask.
        self._ask_group_at = time.monotonic() + _GROUP_SECONDS
        return self._records()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Commits what is stored. The record in hand at an error is not: it comes again.
        self._consumer.close()

    async def __aenter__(self) -> AsyncIterator[Consumed[T]]:
        return self._in_a_thread(await asyncio.to_thread(self.__enter__))

    async def __aexit__(self, *ended: Any) -> None:
        self._ending = True
        if self._asked is not None:
            # Who is cancelled leaves a thread behind that still asks.
            await asyncio.wait([self._asked])
        await asyncio.to_thread(self.__exit__, *ended)

    async def _in_a_thread(self, records: Iterator[Consumed[T]]) -> AsyncIterator[Consumed[T]]:
        while True:
            self._asked = asyncio.ensure_future(asyncio.to_thread(next, records, None))
            record = await asyncio.shield(self._asked)
            if record is None:
                return
            yield record

    def _records(self) -> Iterator[Consumed[T]]:
        ended: set[int] = set()
        while not (self._ending or (self._until_end and self._all_of_ours(ended))):
            # One by one: to ask for the next is what tells the group that this member is well.
            message = self._consumer.poll(0.1)
            if message is None:
                continue
            error = message.error()
            if error is None:
                ended.discard(message.partition() or 0)
                if message.value() is not None and not self._is_repeat(message):
                    yield from self._readable(message)
                self._done(message)
            elif error.code() == KafkaError._PARTITION_EOF:
                ended.add(message.partition() or 0)
            elif error.code() == KafkaError._MAX_POLL_EXCEEDED:
                # The next question joins the group again.
                log.warning("%s: the last record took too long: %s", self._name, error)
            elif not error.retriable():
                raise KafkaException(error)

    def _readable(self, message: Message) -> Iterator[Consumed[T]]:
        try:
            record = self._decoded(message)
        except UnreadableRecord as error:
            if self._unreadable is None:
                raise
            self._unreadable(error)
        else:
            yield record

    def _all_of_ours(self, ended: set[int]) -> bool:
        ours = {partition.partition for partition in self._consumer.assignment()}
        return ours <= ended if ours else self._others_have_all()

    def _others_have_all(self) -> bool:
        """Whether the group has settled, and left nothing for this member. Asked now and then."""
        if time.monotonic() < self._ask_group_at:
            return False
        try:
            asked = self._admin.describe_consumer_groups([self._group])[self._group]
            group = asked.result(_ANSWER_SECONDS)
            topics = self._consumer.list_topics(self._name, _ANSWER_SECONDS).topics
            partitions = topics[self._name].partitions
        # A broker that has just begun may not answer that for long.
        except (KafkaException, TimeoutError) as error:
            log.warning("%s: the group %s is not told: %r", self._name, self._group, error)
            return False
        finally:
            self._ask_group_at = time.monotonic() + _GROUP_SECONDS
        ours = self._consumer.memberid()
        held = {
            partition.partition
            for member in group.members
            for partition in member.assignment.topic_partitions
            if partition.topic == self._name and member.member_id != ours
        }
        # Before it is a member, and while partitions go from one to another, some may yet be ours.
        joined = ours in {member.member_id for member in group.members}
        return joined and group.state == ConsumerGroupState.STABLE and held >= set(partitions)

    def _done(self, message: Message) -> None:
        position = TopicPartition(self._name, message.partition() or 0, (message.offset() or 0) + 1)
        try:
            self._consumer.store_offsets(offsets=[position])
        except KafkaException as error:
            # The partition has gone to another member meanwhile, which will see the record again.
            if error.args[0].code() != KafkaError._STATE:
                raise

    def _is_repeat(self, message: Message) -> bool:
        event_id = _event_id(message)
        if self._seen is None or event_id is None:
            return False
        if event_id in self._seen:
            return True
        self._seen[event_id] = None
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        return False

    def _decoded(self, message: Message) -> Consumed[T]:
        partition, offset = message.partition() or 0, message.offset() or 0
        key, value = message.key(), message.value()
        try:
            content: Any = self._topic.codec.decode(value) if self._topic.codec else value
        except BadRecord as error:
            place = f"{self._topic.name}/{partition}/{offset}"
            raise UnreadableRecord(f"{place}: {error}") from error
        return Consumed(
            topic=self._topic.name,
            partition=partition,
            offset=offset,
            timestamp=message.timestamp()[1] * 1000,
            key=key.decode(errors="replace") if isinstance(key, bytes) else "",
            value=content,
            event_id=_event_id(message),
            headers=dict(headers_of(message)),
        )


def _event_id(message: Message) -> str | None:
    """As it is written by us; what others may write in its place is none."""
    for name, value in headers_of(message):
        if name == "event-id" and value is not None:
            return value.decode(errors="replace")
    return None
