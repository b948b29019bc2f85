"""Takes records from topics, bounded, and commits only what is done and everything before it.

A kill -9 at any moment therefore redelivers whatever was not done: work must bear being done again.
What was done behind a record that still waits, perhaps for days, is noted beside the committed
offset, so that a successor need not do it again. One process of a group works, others stand by.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from connectors.kafka import Cluster, close_client
from connectors.outward import backoff
from connectors.progress import Progress
from connectors.standby import strategies
from schemas.codec import Codec, SchemaAway

log = logging.getLogger(__name__)

T = TypeVar("T")

_POLL_MS = 500
# What held for so long was no failed attempt.
_STEADY_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Taken:
    """A record being worked on."""

    record: ConsumerRecord
    progress: Progress

    @property
    def live(self) -> bool:
        """Whether the record still is ours to work on: its partition may have gone elsewhere."""
        return self.progress.live

    def done(self) -> None:
        """Nothing is left to do for the record."""
        self.progress.done(self.record.offset)


@dataclass(slots=True)
class Errand:
    """One piece of work for the records that ask for it."""

    tickets: list[Taken] = field(default_factory=list)

    @property
    def live(self) -> bool:
        """Whether any of its records still waits for it."""
        return any(ticket.live for ticket in self.tickets)

    def done(self) -> None:
        for ticket in self.tickets:
            ticket.done()


async def decoded(codec: Codec[T], value: bytes | None) -> T:
    """The record in `value`. Where somebody has to be asked first for the schema it was written
    with, nobody else, such as the probes, waits for that. Raises BadRecord, SchemaAway.
    """
    if codec.asks(value):
        return await asyncio.to_thread(codec.decode, value)
    return codec.decode(value)


class Intake:
    """Hands each record of `topics` to `take`, while `room` says there is room, and commits for
    `group`.
    """

    def __init__(
        self,
        cluster: Cluster,
        group: str,
        topics: Iterable[str],
        take: Callable[[Taken], Awaitable[None]],
        room: Callable[[], int],
    ) -> None:
        self._cluster = cluster
        self._group = cluster.prefix + group
        self._topics = [cluster.topic(topic) for topic in topics]
        self._take = take
        self._room = room
        self._progress: dict[TopicPartition, Progress] = {}
        self._committed: dict[TopicPartition, tuple[int, str]] = {}
        # Counts how often partitions have gone.
        self._turn = 0
        self.connected = False

    async def run(self) -> None:
        """Takes records until cancelled; starts over after whatever Kafka answers, and while nobody
        can say what a record was written with.
        """
        failures = 0
        while True:
            consumer = self._consumer()
            began = time.monotonic()
            try:
                await consumer.start()
                consumer.subscribe(self._topics, listener=_Handover(self, consumer))
                self.connected = True
                await self._consume(consumer)
            except (KafkaError, OSError, AssertionError, SchemaAway) as error:
                failures = 1 if time.monotonic() - began > _STEADY_SECONDS else failures + 1
                log.warning("%s: starting over: %r", self._group, error)
            finally:
                self.connected = False
                await self._close(consumer)
            await asyncio.sleep(backoff(failures, 0.2, 5.0))

    async def _consume(self, consumer: AIOKafkaConsumer) -> None:
        while True:
            room = self._room()
            if room > 0:
                consumer.resume(*consumer.paused())
            else:
                consumer.pause(*consumer.assignment())
            batches = await consumer.getmany(timeout_ms=_POLL_MS, max_records=max(1, room))
            turn = self._turn
            noted = await self._noted(consumer, batches)
            # Had all gone elsewhere meanwhile, what has come back begins at what was committed.
            for taken in self._begun(batches, noted) if turn == self._turn else ():
                # While the one before waited for Kafka, the partition may have gone elsewhere.
                if taken.live:
                    await self._take(taken)
            await self.commit(consumer)

    async def _noted(
        self, consumer: AIOKafkaConsumer, partitions: Iterable[TopicPartition]
    ) -> dict[TopicPartition, Progress]:
        """Of those that have just become ours, the progress a predecessor noted."""
        fresh = [partition for partition in partitions if partition not in self._progress]
        if not fresh:
            return {}
        # aiokafka's own `committed` leaves out the note.
        told = await consumer._coordinator.fetch_committed_offsets(fresh)
        return {partition: Progress(at.offset, at.metadata) for partition, at in told.items()}

    def _begun(
        self,
        batches: Mapping[TopicPartition, Iterable[ConsumerRecord]],
        noted: Mapping[TopicPartition, Progress],
    ) -> list[Taken]:
        """What is to be done, all at once, while the partitions are certainly ours: progress in one
        that is not would keep every later commit from being made.
        """
        found = []
        for partition, records in batches.items():
            progress = self._progress.setdefault(partition, noted.get(partition) or Progress())
            for record in records:
                progress.take(record.offset)
                if progress.was_done(record.offset):
                    progress.done(record.offset)
                else:
                    found.append(Taken(record, progress))
        return found

    async def commit(self, consumer: AIOKafkaConsumer) -> None:
        """Commits the runs of done records that grew since the last commit."""
        grown = {
            partition: reached
            for partition, progress in self._progress.items()
            if (reached := progress.reached) not in (None, self._committed.get(partition))
        }
        if not grown:
            return
        try:
            await consumer.commit(grown)
            self._committed.update(grown)
        except KafkaError as error:
            # Uncommitted work is only done again; the next round tries once more.
            log.warning("%s: not committed: %r", self._group, error)

    def forget(self, partitions: Iterable[TopicPartition]) -> None:
        """Those partitions are no longer ours: what is being worked on there is not live any
        more.
        """
        self._turn += 1
        for partition in partitions:
            if progress := self._progress.pop(partition, None):
                progress.live = False
            self._committed.pop(partition, None)

    async def _close(self, consumer: AIOKafkaConsumer) -> None:
        try:
            async with asyncio.timeout(3):
                await self.commit(consumer)
        except (TimeoutError, KafkaError, OSError, AssertionError) as error:
            log.warning("%s: not committed at the end: %r", self._group, error)
        await close_client(consumer.stop, 3)
        self.forget(list(self._progress))

    def _consumer(self) -> AIOKafkaConsumer:
        options: dict[str, Any] = self._cluster.aiokafka()
        return AIOKafkaConsumer(
            **options,
            group_id=self._group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            # The broker's least: how soon a successor gets the partitions of a killed process.
            session_timeout_ms=6000,
            heartbeat_interval_ms=1500,
            metadata_max_age_ms=30_000,
            partition_assignment_strategy=strategies(),
        )


class _Handover(ConsumerRebalanceListener):  # type: ignore[misc]
    """Commits what is done before the partitions go to another member of the group."""

    def __init__(self, intake: Intake, consumer: AIOKafkaConsumer) -> None:
        self._intake = intake
        self._consumer = consumer

    async def on_partitions_revoked(self, revoked: list[TopicPartition]) -> None:
        await self._intake.commit(self._consumer)
        self._intake.forget(revoked)

    async def on_partitions_assigned(self, assigned: list[TopicPartition]) -> None:
        """Nothing to prepare: progress begins with the first record."""
