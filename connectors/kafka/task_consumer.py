"""Hands records to a worker, a bounded number at a time, and commits only finished ones.

The committed offset is behind the longest run of finished records, so after a kill -9 the next
process gets every unfinished record again, and also finished ones behind it: the work must be
repeatable. One process of a group works, others stand by.
"""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Collection, Hashable, Iterable, Mapping, Set
from typing import TypeVar

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from connectors.backoff import backoff
from connectors.kafka import aio_consumer
from connectors.kafka.assignor import SingleActiveAssignor
from connectors.kafka.cluster import Cluster, close_client
from connectors.kafka.offset_tracker import OffsetTracker
from connectors.kafka.progress import Partition, Progress, Source, Trouble, group_positions
from connectors.kafka.publisher import Publisher
from connectors.kafka.read_order import ReadOrder
from connectors.kafka.task import Task
from schemas.codec import Codecs, Schema, SchemaAway

log = logging.getLogger(__name__)

T = TypeVar("T")

_POLL_MS = 500
# While records wait for those of another topic.
_SHORT_POLL_MS = 20
# A connection that lasted so long ends a run of failed attempts.
_STEADY_SECONDS = 30.0


async def decoded(codecs: Codecs, schema: Schema[T], value: bytes | None) -> T:
    """Return the record in `value`. A look-up of the schema that wrote it runs in a thread, so that
    probes and other records do not wait for it. Raises BadRecord, SchemaAway.
    """
    if codecs.needs_lookup(schema, value):
        return await asyncio.to_thread(codecs.decode, schema, value)
    return codecs.decode(schema, value)


class TaskConsumer:
    """Hands each record of `topics` to `handle`, while `capacity` allows, and commits for `group`.

    `handle` begins the work and returns; the work acknowledges its task when it is finished.
    `in_work` is that of `progress.Source`, `after` that of `ReadOrder`. No partition is read on
    while it has `most_uncommitted` records that were read and cannot be committed yet.
    """

    def __init__(
        self,
        cluster: Cluster,
        group: str,
        topics: Iterable[str],
        handle: Callable[[Task], Awaitable[None]],
        capacity: Callable[[], int],
        in_work: Callable[[], Mapping[Hashable, str]] = dict,
        *,
        after: Mapping[str, str] | None = None,
        most_uncommitted: float = math.inf,
    ) -> None:
        self._cluster = cluster
        self._name = group
        self._group = cluster.prefix + group
        self._topics = [cluster.topic(topic) for topic in topics]
        self._handle = handle
        self._capacity = capacity
        self._trackers: dict[TopicPartition, OffsetTracker] = {}
        self._committed: dict[TopicPartition, int] = {}
        self._in_work = in_work
        self._after = {cluster.topic(one): cluster.topic(two) for one, two in (after or {}).items()}
        self._most_uncommitted = most_uncommitted
        # The place of the record that `handle` has now.
        self._handing_over: tuple[OffsetTracker, int] | None = None
        self._held: list[Partition] | None = None
        self._trouble = Trouble()
        self.connected = False

    def source(self) -> Source:
        """Return what measures the progress of this process."""
        return Source(
            self._name,
            self._name,
            self._topics,
            self._trouble,
            held=lambda: self._held,
            positions=self._positions,
            in_work=self._all_work,
        )

    def _all_work(self) -> dict[Hashable, str]:
        handed_over = self._handing_over
        return {**self._in_work(), **({handed_over: ""} if handed_over else {})}

    def _positions(self, partitions: Collection[Partition]) -> dict[Partition, int]:
        positions = {}
        full = self._capacity() <= 0
        for partition, committed in group_positions(self._cluster, self._name, partitions).items():
            tracker = self._trackers.get(TopicPartition(*partition))
            position = tracker.behind_work(committed) if tracker else committed
            # While the work is full, nothing is read, and only a commit may be missing.
            reads = not (full or (tracker and self._is_over(tracker)))
            if reads or (tracker and position < (tracker.next_offset or 0)):
                positions[partition] = position
        return positions

    async def run(self) -> None:
        """Consume until cancelled. Start over after any Kafka error, and while a record's schema
        cannot be looked up.
        """
        failures = 0
        while True:
            consumer, ends = self._consumer(), self._ends_consumer()
            began = time.monotonic()
            try:
                await consumer.start()
                if self._after:
                    await ends.start()
                consumer.subscribe(self._topics, listener=_RevokeListener(self, consumer))
                self.connected = True
                await self._consume(consumer, ReadOrder(self._after, consumer, ends))
            except Exception as error:
                failures = 1 if time.monotonic() - began > _STEADY_SECONDS else failures + 1
                self._trouble.note(error)
                expected = isinstance(error, KafkaError | OSError | AssertionError | SchemaAway)
                log.warning("%s: starting over: %r", self._group, error, exc_info=not expected)
            finally:
                self.connected = False
                await close_client(ends.stop, 3)
                await self._close(consumer)
            await asyncio.sleep(backoff(failures, 0.2, 5.0))

    async def _consume(self, consumer: AIOKafkaConsumer, order: ReadOrder) -> None:
        while True:
            capacity = self._capacity()
            self._pause(consumer, order.waiting(), full=capacity <= 0)
            poll_ms = _SHORT_POLL_MS if order.waiting() else _POLL_MS
            batches = await consumer.getmany(timeout_ms=poll_ms, max_records=max(1, capacity))
            for task in await order.in_turn(self._start(batches)):
                # The partition may have moved while the task before waited for Kafka.
                if task.live:
                    self._handing_over = task.tracker, task.record.offset
                    await self._handle(task)
                    self._handing_over = None
            await self.commit(consumer)

    def _pause(
        self, consumer: AIOKafkaConsumer, waiting: Set[TopicPartition], *, full: bool
    ) -> None:
        """Pause just the partitions that must not be read now."""
        over = {place for place, tracker in self._trackers.items() if self._is_over(tracker)}
        assigned: Set[TopicPartition] = consumer.assignment()
        paused = assigned if full else assigned & (waiting | over)
        consumer.resume(*(consumer.paused() - paused))
        if paused:
            consumer.pause(*paused)

    def _is_over(self, tracker: OffsetTracker) -> bool:
        return tracker.pending >= self._most_uncommitted

    def over(self) -> int:
        """Return how many partitions are not read on because too many records are uncommitted."""
        return sum(self._is_over(tracker) for tracker in self._trackers.values())

    def _start(self, batches: Mapping[TopicPartition, Iterable[ConsumerRecord]]) -> list[Task]:
        """Track all fetched records at once: while this runs, no partition can move. A tracker of a
        partition that belongs to another member would make every later commit fail.
        """
        tasks = []
        for partition, records in batches.items():
            tracker = self._trackers.setdefault(partition, OffsetTracker())
            for record in records:
                tracker.start(record.offset)
                tasks.append(Task(record, tracker))
        return tasks

    async def commit(self, consumer: AIOKafkaConsumer) -> None:
        """Commit the offsets that grew since the last commit."""
        grown = {
            partition: offset
            for partition, tracker in self._trackers.items()
            if (offset := tracker.next_offset) is not None
            and offset != self._committed.get(partition)
        }
        if not grown:
            return
        try:
            await consumer.commit(grown)
            self._committed.update(grown)
        except KafkaError as error:
            # Uncommitted work is only repeated, and the next round tries to commit again.
            log.warning("%s: not committed: %r", self._group, error)
            self._trouble.note(error)

    def hold(self, partitions: Iterable[TopicPartition] | None) -> None:
        """Note the partitions that are ours now; None while we are not in the group."""
        self._held = None if partitions is None else [(p.topic, p.partition) for p in partitions]

    def forget(self, partitions: Iterable[TopicPartition]) -> None:
        """Drop partitions that another member owns now: their tasks are no longer live."""
        for partition in partitions:
            if tracker := self._trackers.pop(partition, None):
                tracker.live = False
            self._committed.pop(partition, None)

    async def _close(self, consumer: AIOKafkaConsumer) -> None:
        try:
            async with asyncio.timeout(3):
                await self.commit(consumer)
        except (TimeoutError, KafkaError, OSError, AssertionError) as error:
            log.warning("%s: not committed at the end: %r", self._group, error)
        await close_client(consumer.stop, 3)
        self._handing_over = None
        self.hold(None)
        self.forget(list(self._trackers))

    def _consumer(self) -> AIOKafkaConsumer:
        return aio_consumer.consumer(
            self._cluster,
            group_id=self._group,
            auto_offset_reset="earliest",
            # The broker's minimum: how soon a standby gets the partitions of a killed process.
            session_timeout_ms=6000,
            heartbeat_interval_ms=1500,
            partition_assignment_strategy=[SingleActiveAssignor()],
        )

    def _ends_consumer(self) -> AIOKafkaConsumer:
        return aio_consumer.consumer(self._cluster, isolation_level="read_uncommitted")


class Watch:
    """Whether a process works, whose work publishes with `publisher`; `run` ends it at a stall."""

    def __init__(
        self,
        cluster: Cluster,
        consumers: Collection[TaskConsumer],
        publisher: Publisher,
        stall_seconds: float,
    ) -> None:
        self._consumers = consumers
        self._publisher = publisher
        sources = (consumer.source() for consumer in consumers)
        progress = Progress(cluster, sources, stall_seconds, also=lambda: publisher.trouble)
        self.run, self._why_not = progress.run, progress.why_not

    def why_not_ready(self) -> str | None:
        """For /readyz: None while the process is connected to Kafka and makes progress."""
        if reason := self._why_not() or self._publisher.why_not_ready():
            return reason
        connected = all(consumer.connected for consumer in self._consumers)
        return None if connected else "no connection to Kafka"


class _RevokeListener(ConsumerRebalanceListener):  # type: ignore[misc]
    """Commits what is finished before the partitions go to another member of the group."""

    def __init__(self, tasks: TaskConsumer, consumer: AIOKafkaConsumer) -> None:
        self._tasks = tasks
        self._consumer = consumer

    async def on_partitions_revoked(self, revoked: list[TopicPartition]) -> None:
        await self._tasks.commit(self._consumer)
        self._tasks.hold(None)
        self._tasks.forget(revoked)

    async def on_partitions_assigned(self, assigned: list[TopicPartition]) -> None:
        """Note them. A tracker begins with the first record."""
        self._tasks.hold(assigned)
