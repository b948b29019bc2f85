"""A producer for asyncio processes: when `publish` returns, the record is on Kafka with acks=all.

An idempotent aiokafka producer can be left stuck after a broker outage: it then refuses every
record with OutOfOrderSequenceNumber until it is replaced
(github.com/aio-libs/aiokafka/issues/1017). So the publisher replaces, and counts, a producer that
fails, or that acknowledges nothing for as long as one record may take.
"""

import asyncio
import logging
import time
from typing import Protocol

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    InvalidTopicError,
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)
from prometheus_client import Counter

from connectors.backoff import backoff
from connectors.kafka.cluster import Cluster, close_client
from connectors.kafka.partitioner import place
from connectors.kafka.timeouts import Timeouts
from connectors.reasons import reason_of
from schemas.headers import Headers
from schemas.limits import RECORD_BYTES, WAITING_BYTES

log = logging.getLogger(__name__)

_REPLACED = Counter("linkstatus_producer_replaced_total", "Stuck Kafka producers that we replaced")
_UNAVAILABLE = Counter(
    "linkstatus_publish_unavailable_total", "Records that Kafka could not take in time"
)
# The record is the cause: it would be refused each time.
_REFUSED = (MessageSizeTooLargeError, RecordListTooLargeError)
# The topic is the cause: another producer would fail as well.
_HOPELESS = (InvalidTopicError, TopicAuthorizationFailedError, UnknownTopicOrPartitionError)


class Unavailable(Exception):
    """Kafka cannot take the record now. It may still arrive later, so publishing it again can
    repeat it.
    """


class RecordRefused(Unavailable):
    """The cluster never takes this record: it is too large for its topic."""


class Publishes(Protocol):
    """The part of a `Publisher` that the processes need. Topics are named without the
    installation's prefix.
    """

    async def publish(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Headers
    ) -> None: ...


class Publisher:
    """Publishes records one by one, each acknowledged. `run` is the service that keeps it
    connected.
    """

    def __init__(
        self, cluster: Cluster, *, seconds: float = 5.0, max_pending_bytes: int = WAITING_BYTES
    ) -> None:
        self._cluster = cluster
        self._timeouts = Timeouts(seconds)
        self._max_pending_bytes = max_pending_bytes
        self._pending_bytes = 0
        self._producer: AIOKafkaProducer | None = None
        self._connected = asyncio.Event()
        self._stuck = asyncio.Event()
        self._last_ack = 0.0
        # Why the last record was not taken; None after one that was.
        self.trouble: str | None = None
        self._unacked: set[asyncio.Future[object]] = set()

    def why_not_ready(self) -> str | None:
        """For /readyz: None while a producer is connected."""
        return None if self._producer else "no connection to Kafka"

    async def publish(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Headers
    ) -> None:
        """Return once the record is on Kafka with acks=all. Raises Unavailable, at the latest after
        the time limit.
        """
        size = len(key or b"") + len(value or b"")
        for name, text in headers:
            size += len(name) + len(text)
        if self._pending_bytes + size > self._max_pending_bytes:
            _UNAVAILABLE.inc()
            raise Unavailable("too many records wait for Kafka already")
        started = time.monotonic()
        self._pending_bytes += size
        try:
            async with asyncio.timeout(None) as timeout:
                self._timeouts.start(timeout)
                while not await self._send(topic, key, value, headers):
                    await self._connected.wait()
            self._last_ack, self.trouble = time.monotonic(), None
        except TimeoutError:
            if self._last_ack < started:
                self._give_up(self._producer, "it acknowledges nothing")
            _UNAVAILABLE.inc()
            self.trouble = f"{topic}: not acknowledged within {self._timeouts.seconds} s"
            raise Unavailable(self.trouble) from None
        finally:
            self._timeouts.end(timeout)
            self._pending_bytes -= size

    async def _send(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Headers
    ) -> bool:
        """Return whether the current producer, if there is one, got the record acknowledged."""
        producer = self._producer
        if producer is None:
            return False
        try:
            acked = await producer.send(self._cluster.topic(topic), value, key, headers=headers)
            self._unacked.add(acked)
            try:
                await acked
            finally:
                self._unacked.discard(acked)
        except _REFUSED as error:
            raise RecordRefused(f"{topic}: {reason_of(error)}") from error
        except _HOPELESS as error:
            _UNAVAILABLE.inc()
            self.trouble = f"{topic}: {reason_of(error)}"
            raise Unavailable(self.trouble) from error
        except KafkaError as error:
            self._give_up(producer, reason_of(error))
            return False
        return True

    def _give_up(self, producer: AIOKafkaProducer | None, reason: str) -> None:
        if producer is not None and producer is self._producer:
            log.warning("replacing the Kafka producer: %s", reason)
            self._producer = None
            self._connected.clear()
            self._stuck.set()
            for acked in self._unacked:
                if not acked.done():
                    acked.set_exception(KafkaError("the producer is being replaced"))

    async def run(self) -> None:
        """Connect, replace a stuck producer, and close the last one when cancelled. Never ends by
        itself.
        """
        failures = 1
        while True:
            producer = self._new()
            try:
                async with asyncio.timeout(30):
                    await producer.start()
                failures = 1
                self._stuck.clear()
                self._producer = producer
                self._connected.set()
                await self._stuck.wait()
                _REPLACED.inc()
            except (KafkaError, OSError, TimeoutError, AssertionError) as error:
                failures += 1
                log.warning("no connection to Kafka yet: %s", reason_of(error))
            finally:
                # On a cancel no record waits any more: the callers end before this service.
                self._producer = None
                self._connected.clear()
                await _discard(producer)
            await asyncio.sleep(backoff(failures, 0.1, 1.0))

    def _new(self) -> AIOKafkaProducer:
        return AIOKafkaProducer(
            **self._cluster.aiokafka(),
            acks="all",
            enable_idempotence=True,
            linger_ms=0,
            partitioner=place,
            max_batch_size=256 << 10,
            max_request_size=RECORD_BYTES,
            request_timeout_ms=10_000,
        )


async def _discard(producer: AIOKafkaProducer) -> None:
    """Close a producer within a time limit, whatever state it is in.

    `stop` alone would wait for ever: an idempotent producer never gives up a batch. aiokafka offers
    no other way to drop one, so this uses its internals;
    `test_publisher.test_replaced_producer_leaves_nothing_behind` fails when they change.
    """
    # First wait for what is under way at the broker: it may still succeed.
    await close_client(producer._sender.close, 1)
    producer._message_accumulator._batches.clear()
    producer._message_accumulator._pending_batches.clear()
    await close_client(producer.stop, 1)
    await close_client(producer.client.close, 1)


async def publish_until_acked(
    publisher: Publishes, topic: str, key: bytes | None, value: bytes | None, headers: Headers
) -> None:
    """Publish however long Kafka is away: for work whose input is committed only afterwards.
    Raises RecordRefused.
    """
    while True:
        try:
            return await publisher.publish(topic, key, value, headers)
        except RecordRefused:
            raise
        except Unavailable as error:
            log.warning("%s: trying again: %s", topic, error)
            await asyncio.sleep(1.0)
