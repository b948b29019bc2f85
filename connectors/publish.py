"""The careful producer: a record is on Kafka with acks=all when `publish` returns, or `Unavailable`
says it is not.

An idempotent aiokafka producer can be left stuck after a broker outage, refusing every record with
OutOfOrderSequenceNumber until it is made anew (github.com/aio-libs/aiokafka/issues/1017). So a
producer that fails, or that acknowledges nothing for as long as one record may take, is replaced,
and counted.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
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

from connectors.kafka import LARGEST_RECORD, Cluster

log = logging.getLogger(__name__)

Headers = Sequence[tuple[str, bytes]]

_REPLACED = Counter(
    "linkstatus_producer_replaced_total", "Producers given up as stuck and made anew"
)
_UNAVAILABLE = Counter(
    "linkstatus_publish_unavailable_total", "Records Kafka could not take in time"
)
# The record's or the topic's own fault: another producer would fare no better.
_HOPELESS = (
    InvalidTopicError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)


class Unavailable(Exception):
    """Kafka cannot take the record now. It may still arrive later: publishing again can repeat
    it.
    """


class Publishes(Protocol):
    """What the processes need of a `Publisher`. Topics are named without the installation's
    prefix.
    """

    async def publish(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Headers
    ) -> None: ...


class Publisher:
    """Publishes records one by one, each acknowledged. `run` is the service that keeps it
    connected.
    """

    def __init__(
        self, cluster: Cluster, *, seconds: float = 5.0, most_waiting_bytes: int = 32 << 20
    ) -> None:
        self._cluster = cluster
        self._prefix = cluster.prefix
        self._seconds = seconds
        self._most_waiting_bytes = most_waiting_bytes
        self._waiting_bytes = 0
        self._producer: AIOKafkaProducer | None = None
        self._connected = asyncio.Event()
        self._stuck = asyncio.Event()
        self._last_ack = 0.0
        self._unacked: set[asyncio.Future[object]] = set()

    def why_not_ready(self) -> str | None:
        """For /readyz: None while a producer is connected."""
        return None if self._producer else "no connection to Kafka"

    async def publish(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Headers
    ) -> None:
        """Returns once the record is on Kafka with acks=all. Raises Unavailable, at the latest
        after the bound.
        """
        if self._waiting_bytes > self._most_waiting_bytes:
            _UNAVAILABLE.inc()
            raise Unavailable("too many records wait for Kafka already")
        started = time.monotonic()
        size = len(value or b"")
        self._waiting_bytes += size
        try:
            async with asyncio.timeout(self._seconds):
                while not await self._sent(topic, key, value, headers):
                    await self._connected.wait()
            self._last_ack = time.monotonic()
        except TimeoutError:
            if self._last_ack < started:
                self._give_up(self._producer, "it acknowledges nothing")
            _UNAVAILABLE.inc()
            raise Unavailable(f"not acknowledged within {self._seconds} s") from None
        finally:
            self._waiting_bytes -= size

    async def _sent(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Headers
    ) -> bool:
        """Whether the present producer, if there is one, got the record acknowledged."""
        producer = self._producer
        if producer is None:
            return False
        try:
            acked = await producer.send(self._prefix + topic, value, key, headers=headers)
            self._unacked.add(acked)
            try:
                await acked
            finally:
                self._unacked.discard(acked)
        except _HOPELESS as error:
            _UNAVAILABLE.inc()
            raise Unavailable(f"{topic}: {error!r}") from error
        except KafkaError as error:
            self._give_up(producer, repr(error))
            return False
        return True

    def _give_up(self, producer: AIOKafkaProducer | None, why: str) -> None:
        if producer is not None and producer is self._producer:
            log.warning("giving up the Kafka producer: %s", why)
            self._producer = None
            self._connected.clear()
            self._stuck.set()
            for acked in self._unacked:
                if not acked.done():
                    acked.set_exception(KafkaError("the producer was given up"))

    async def run(self) -> None:
        """Connects, replaces a stuck producer, and closes the last one when cancelled. Never ends
        by itself.
        """
        while True:
            producer = await self._connect()
            self._stuck.clear()
            self._producer = producer
            self._connected.set()
            try:
                await self._stuck.wait()
                _REPLACED.inc()
            finally:
                # On a cancel nothing waits any more: whoever publishes ends before this service.
                self._producer = None
                self._connected.clear()
                await _discard(producer)
            await asyncio.sleep(0.1)

    async def _connect(self) -> AIOKafkaProducer:
        pause = 0.1
        while True:
            producer = self._new()
            try:
                async with asyncio.timeout(30):
                    await producer.start()
                return producer
            except (KafkaError, OSError, TimeoutError, AssertionError) as error:
                log.warning("no connection to Kafka yet: %s", error)
                await _discard(producer)
            except BaseException:
                await _discard(producer)
                raise
            await asyncio.sleep(pause)
            pause = min(1.0, pause * 2)

    def _new(self) -> AIOKafkaProducer:
        return AIOKafkaProducer(
            **self._cluster.aiokafka(),
            acks="all",
            enable_idempotence=True,
            linger_ms=0,
            max_batch_size=256 << 10,
            max_request_size=LARGEST_RECORD,
            request_timeout_ms=10_000,
        )


async def _discard(producer: AIOKafkaProducer) -> None:
    """Closes a producer within a bound, whatever state it is in."""
    # First what is under way at the broker, which may still end well.
    await _bounded(producer._sender.close)
    # Its `stop` would wait until the broker has taken the rest; that was given up.
    producer._message_accumulator._batches.clear()
    producer._message_accumulator._pending_batches.clear()
    await _bounded(producer.stop)
    await _bounded(producer.client.close)


async def _bounded(close: Callable[[], Awaitable[None]]) -> None:
    try:
        async with asyncio.timeout(1):
            await close()
    except Exception as error:
        log.info("a producer given up did not close in order: %r", error)
