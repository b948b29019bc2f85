"""From Kafka to SQL: rows and read positions in one transaction: nothing is lost or doubled.

A consumer rides out an outage by itself. When its topics are no longer what it was told to read, or
the database was away, a new one begins from the stored positions.
"""

import asyncio
import logging
import time
from collections import Counter as Tally
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from prometheus_client import Counter, Gauge, Histogram

from connectors.board import rows
from connectors.board.keep import keep
from connectors.board.rows import Batch, Message
from connectors.board.store import Store, StoreUnavailable
from connectors.board.stream import Hub
from connectors.kafka import Cluster
from schemas.codec import SchemaAway

log = logging.getLogger(__name__)
R = TypeVar("R")

_RECORDS = Counter("linkstatus_board_records_total", "Records materialized.", ["topic"])
_LAG = Gauge("linkstatus_board_lag_records", "Records the board has not read yet.", ["topic"])
_BATCH = Histogram("linkstatus_board_batch_seconds", "Time to store one batch.")

_MOST_RECORDS = 2000
_POLL_MS = 500
_CHECK_SECONDS = 3.0
_ANSWER_SECONDS = 5.0
_LONGEST_PAUSE = 5.0


class _StartAgain(Exception):
    """This session cannot go on; the message says why."""


class Materializer:
    """Keeps the store up to date with the topics."""

    def __init__(self, cluster: Cluster, store: Store, hub: Hub) -> None:
        self._cluster = cluster
        self._store = store
        self._hub = hub
        self._names = {cluster.topic(name): name for name in rows.TOPICS}
        self._trouble: str | None = "not connected to Kafka yet"

    def why_not(self) -> str | None:
        """Why the board is not following the topics now, or None."""
        return self._trouble

    async def run(self) -> None:
        """Follows the topics forever, whatever is away for a while: the process may be the edge
        too, which needs no database.
        """
        pause = 0.25
        while True:
            started = time.monotonic()
            try:
                await self._session()
            except (KafkaError, _StartAgain, OSError) as error:
                self._report(_unread(error))
            except (StoreUnavailable, SchemaAway) as error:
                self._report(str(error))
            # A session that held for a while was no failed attempt: try again soon.
            pause = 0.25 if time.monotonic() - started > 30 else min(pause * 2, _LONGEST_PAUSE)
            await asyncio.sleep(pause)

    def _report(self, trouble: str | None) -> None:
        """Remembers what keeps us from following, and logs it when it changes."""
        if trouble != self._trouble:
            log.warning("board: %s", trouble or "following the topics")
        self._trouble = trouble

    async def _session(self) -> None:
        partitions = await self._partitions()
        consumer = AIOKafkaConsumer(
            **self._cluster.aiokafka(),
            client_id="linkstatus-board",
            group_id=None,
            enable_auto_commit=False,
            # A position that is gone ends the session; the next one decides where to go on.
            auto_offset_reset="none",
            isolation_level="read_committed",
            metadata_max_age_ms=30_000,
            request_timeout_ms=int(_ANSWER_SECONDS * 1000),
        )
        try:
            await consumer.start()
            consumer.assign(partitions)
            await self._seek(consumer, partitions)
            self._report(None)
            await self._follow(consumer, partitions)
        finally:
            await _stop(consumer)

    async def _partitions(self) -> list[TopicPartition]:
        """All partitions of all topics. Raises _StartAgain while a topic is missing."""
        admin = AIOKafkaAdminClient(
            **self._cluster.aiokafka(), request_timeout_ms=int(_ANSWER_SECONDS * 1000)
        )
        try:
            await admin.start()
            described: list[dict[str, Any]] = await admin.describe_topics(list(self._names))
        finally:
            await admin.close()
        if missing := [topic["topic"] for topic in described if topic["error_code"]]:
            raise _StartAgain(f"missing topics {', '.join(sorted(missing))}")
        return [
            TopicPartition(topic["topic"], partition["partition"])
            for topic in described
            for partition in topic["partitions"]
        ]

    async def _seek(self, consumer: Any, partitions: Sequence[TopicPartition]) -> None:
        first = await consumer.beginning_offsets(partitions)
        end = await consumer.end_offsets(partitions)
        stored = await _to_its_end(self._store.positions)
        anew: dict[tuple[str, int], int] = {}
        for partition in partitions:
            key = self._names[partition.topic], partition.partition
            position = stored.get(key, first[partition])
            if position > end[partition]:
                log.warning("board: %s/%d was made anew; reading it from its beginning", *key)
                anew[key] = position = first[partition]
            elif position < first[partition]:
                gone = first[partition] - position
                log.warning("board: %d records of %s/%d are gone unread", gone, *key)
                position = first[partition]
            consumer.seek(partition, position)
        if anew:
            await _to_its_end(self._store.start_over, anew)

    async def _follow(self, consumer: Any, partitions: Sequence[TopicPartition]) -> None:
        next_check = 0.0
        while True:
            got = await consumer.getmany(timeout_ms=_POLL_MS, max_records=_MOST_RECORDS)
            messages = [self._message(record) for records in got.values() for record in records]
            if messages:
                batch = await _to_its_end(self._keep, messages)
                self._hub.publish(batch.changes, _activity(batch))
            if time.monotonic() >= next_check:
                await self._check(consumer, partitions)
                next_check = time.monotonic() + _CHECK_SECONDS

    async def _check(self, consumer: Any, partitions: Sequence[TopicPartition]) -> None:
        """Asks the cluster how far its topics go; it should answer, and have these partitions."""
        try:
            end = await consumer.end_offsets(partitions)
        except KafkaError as error:
            # The consumer goes on by itself when the cluster is back.
            return self._report(_unread(error))
        self._report(None)
        lag: Tally[str] = Tally()
        for partition, offset in end.items():
            position = await consumer.position(partition)
            lag[self._names[partition.topic]] += max(0, offset - position)
        for topic, records in lag.items():
            _LAG.labels(topic).set(records)
        now = sum(len(consumer.partitions_for_topic(topic) or ()) for topic in self._names)
        if now != len(partitions):
            raise _StartAgain(f"{now} partitions where there were {len(partitions)}")

    def _message(self, record: Any) -> Message:
        return Message(
            self._names[record.topic],
            record.partition,
            record.offset,
            record.timestamp,
            record.key,
            record.value,
            tuple(record.headers),
        )

    def _keep(self, messages: Sequence[Message]) -> Batch:
        with _BATCH.time():
            batch = keep(self._store, messages)
        for topic, records in Tally(message.topic for message in messages).items():
            _RECORDS.labels(topic).inc(records)
        return batch


async def _to_its_end(work: Callable[..., R], *given: Any) -> R:
    """In a thread, and also when cancelled not left before it is done: what it works on is closed
    then.
    """
    working = asyncio.ensure_future(asyncio.to_thread(work, *given))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        await asyncio.gather(working, return_exceptions=True)
        raise


def _unread(error: Exception) -> str:
    return f"cannot read from Kafka: {str(error) or type(error).__name__}"


def _activity(batch: Batch) -> dict[str, int]:
    return {table.name: len(some) for table, some in batch.rows.items()}


async def _stop(consumer: Any) -> None:
    try:
        await consumer.stop()
    except asyncio.CancelledError:
        # aiokafka passes on the end of its own tasks; only ours being cancelled is meant.
        task = asyncio.current_task()
        if task and task.cancelling():
            raise
