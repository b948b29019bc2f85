"""From Kafka to SQL. Rows and positions are written in one transaction, so that no record is lost
or stored twice.

The consumer itself survives an outage of the cluster. When the topics have changed or the database
was away, a new session starts from the stored positions.
"""

import asyncio
import logging
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from confluent_kafka import KafkaException
from prometheus_client import Gauge

from connectors.board.database import projection
from connectors.board.database.projection import Batch, Message
from connectors.board.database.store import Store, StoreUnavailable
from connectors.board.database.threads import run_to_end
from connectors.board.feed.live_events import Hub
from connectors.board.feed.writer import store_messages
from connectors.kafka import aio_consumer, topic_ids
from connectors.kafka.cluster import Cluster
from connectors.kafka.progress import Partition, Source, Trouble
from connectors.reasons import reason_of
from schemas.codec import Codecs, SchemaAway
from schemas.headers import pairs

log = logging.getLogger(__name__)

_LAG = Gauge("linkstatus_board_lag_records", "Records that the board has not stored.", ["topic"])

_MOST_RECORDS = 2000
_POLL_MS = 500
_CHECK_SECONDS = 3.0
_REQUEST_SECONDS = 5.0
_FIRST_PAUSE = 0.25
_LONGEST_PAUSE = 5.0
# A session of this length was not a failed attempt.
_STABLE_SECONDS = 30


class _SessionOver(Exception):
    """This session cannot continue; the message says why."""


class Materializer:
    """Keeps the store up to date with the topics."""

    def __init__(self, cluster: Cluster, codecs: Codecs, store: Store, hub: Hub) -> None:
        self._cluster = cluster
        self._codecs = codecs
        self._store = store
        self._hub = hub
        self._names = {cluster.topic(name): name for name in projection.TOPICS}
        self._topic_ids: dict[str, str] = {}
        self._trouble: str | None = "not connected to Kafka yet"
        self._failed = Trouble()

    def why_not(self) -> str | None:
        """Return why the board does not follow the topics now, or None."""
        return self._trouble

    def source(self) -> Source:
        """Return what measures the board's progress: its positions are in the database."""
        return Source(
            "board",
            "linkstatus-raw",
            list(self._names),
            self._failed,
            held=lambda: None,
            positions=self._positions,
            report=self._set_lag,
        )

    def _positions(self, partitions: Collection[Partition]) -> dict[Partition, int]:
        stored = self._store.positions()
        return {(name, n): stored.get((self._names[name], n), 0) for name, n in partitions}

    def _set_lag(self, waiting: Mapping[Partition, int]) -> None:
        for topic, name in self._names.items():
            _LAG.labels(name).set(sum(lag for (one, _), lag in waiting.items() if one == topic))

    async def run(self) -> None:
        """Follow the topics forever, over every outage: the same process may be the edge, which
        needs no database.
        """
        pause = _FIRST_PAUSE
        while True:
            started = time.monotonic()
            try:
                await self._session()
            except (KafkaError, KafkaException, _SessionOver, OSError) as error:
                self._fail(error, _unread(error))
            except (StoreUnavailable, SchemaAway) as error:
                self._fail(error, str(error))
            except Exception as error:
                log.exception("board: starting over")
                self._fail(error, f"{reason_of(error)}; the log says more")
            stable = time.monotonic() - started > _STABLE_SECONDS
            pause = _FIRST_PAUSE if stable else min(pause * 2, _LONGEST_PAUSE)
            await asyncio.sleep(pause)

    def _fail(self, error: Exception, trouble: str) -> None:
        self._failed.note(error)
        self._report(trouble)

    def _report(self, trouble: str | None) -> None:
        """Remember what keeps the board from following, and log it when it changes."""
        if trouble != self._trouble:
            log.warning("board: %s", trouble or "following the topics")
        self._trouble = trouble

    async def _session(self) -> None:
        self._admin = topic_ids.client(self._cluster)
        partitions = await self._find_partitions()
        consumer = aio_consumer.consumer(
            self._cluster,
            client_id="linkstatus-board",
            group_id=None,
            # A position that is gone ends the session; the next one decides where to continue.
            auto_offset_reset="none",
            request_timeout_ms=int(_REQUEST_SECONDS * 1000),
        )
        try:
            await consumer.start()
            consumer.assign(partitions)
            await self._seek(consumer, partitions)
            self._report(None)
            await self._follow(consumer, partitions)
        finally:
            await _stop(consumer)

    async def _describe(self) -> dict[str, topic_ids.Topic]:
        return await asyncio.to_thread(topic_ids.describe, self._admin, self._names)

    async def _find_partitions(self) -> list[TopicPartition]:
        """Return all partitions of all topics. Raises _SessionOver while a topic is missing."""
        topics = await self._describe()
        if missing := self._names.keys() - topics.keys():
            raise _SessionOver(f"missing topics {', '.join(sorted(missing))}")
        self._topic_ids = {self._names[name]: topic.id for name, topic in topics.items()}
        return [
            TopicPartition(name, number)
            for name, topic in topics.items()
            for number in topic.partitions
        ]

    async def _seek(self, consumer: Any, partitions: Sequence[TopicPartition]) -> None:
        first = await consumer.beginning_offsets(partitions)
        end = await consumer.end_offsets(partitions)
        stored = await run_to_end(self._store.positions)
        stored_ids = await run_to_end(self._store.topic_ids)
        recreated: dict[tuple[str, int], int] = {}
        for partition in partitions:
            key = self._names[partition.topic], partition.partition
            position = stored.get(key, first[partition])
            known, topic_id = stored_ids.get(key), self._topic_ids[key[0]]
            if position > end[partition] or (known and known != topic_id):
                log.warning("board: %s/%d was recreated: reading it from its beginning", *key)
                recreated[key] = position = first[partition]
            elif position < first[partition]:
                lost = first[partition] - position
                log.warning("board: Kafka deleted %d unread records of %s/%d", lost, *key)
                position = first[partition]
            consumer.seek(partition, position)
        if recreated:
            await run_to_end(self._store.start_over, recreated, self._topic_ids)

    async def _follow(self, consumer: Any, partitions: Sequence[TopicPartition]) -> None:
        next_check = 0.0
        while True:
            polled = await consumer.getmany(timeout_ms=_POLL_MS, max_records=_MOST_RECORDS)
            messages = [self._message(record) for records in polled.values() for record in records]
            if messages:
                batch = await run_to_end(store_messages, self._store, self._codecs, messages)
                self._hub.publish(batch.changes, _activity(batch))
            if time.monotonic() >= next_check:
                await self._check(partitions)
                next_check = time.monotonic() + _CHECK_SECONDS

    async def _check(self, partitions: Sequence[TopicPartition]) -> None:
        """Raises _SessionOver if the topics have changed."""
        try:
            topics = await self._describe()
        except (KafkaError, KafkaException) as error:
            # The consumer continues by itself when the cluster is back.
            return self._report(_unread(error))
        self._report(None)
        now = sum(len(topic.partitions) for topic in topics.values())
        if now != len(partitions):
            raise _SessionOver(f"{now} partitions where there were {len(partitions)}")
        if {self._names[name]: topic.id for name, topic in topics.items()} != self._topic_ids:
            raise _SessionOver("a topic was deleted and created again")

    def _message(self, record: Any) -> Message:
        return Message(
            self._names[record.topic],
            record.partition,
            record.offset,
            record.timestamp,
            record.key,
            record.value,
            tuple(pairs(record.headers)),
            self._topic_ids[self._names[record.topic]],
        )


def _unread(error: Exception) -> str:
    return f"cannot read from Kafka: {reason_of(error)}"


def _activity(batch: Batch) -> dict[str, int]:
    return {table.name: len(rows) for table, rows in batch.rows.items()}


async def _stop(consumer: Any) -> None:
    try:
        await consumer.stop()
    except asyncio.CancelledError:
        # aiokafka also raises this when its own tasks end. It counts only if ours is cancelled.
        task = asyncio.current_task()
        if task and task.cancelling():
            raise
