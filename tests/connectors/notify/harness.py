"""The deliveries to one endpoint at work, between a fake Kafka and a receiver."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from connectors.notify.deliveries import Deliveries
from connectors.notify.endpoint import SCHEMAS, Endpoint, NotifyLimits
from schemas.codec import Codecs
from schemas.headers import Headers
from schemas.topics import message_key
from streams import testing
from tests.support.codecs import CODECS
from tests.support.fakes import FakePublisher, Published
from tests.support.receiver import SECRET, Receiver
from tests.support.running import Working, running

QUICK = NotifyLimits(
    per_second=10_000,
    retry_at_least=0,
    refused_pauses=(0.001, 0.01),
    away_pauses=(0.001, 0.01),
    gone_pause=0.01,
)
ENDPOINT = Endpoint("billing", "http://receiver.test/hooks", (SECRET,))


def value(topic: str, record: Any) -> bytes:
    return CODECS.encode(SCHEMAS[topic], record)


class Notifying(Working):
    """The process at work."""

    deliveries: Deliveries

    async def take(self, topic: str, record: Any) -> None:
        subject = record.get("order_id") or record["link_id"]
        key = message_key(record["provider"], subject)
        await self.take_bytes(topic, value(topic, record), key)

    async def take_bytes(
        self,
        topic: str,
        body: bytes,
        key: bytes = b"ping:o",
        headers: Headers | None = None,
        age_seconds: int = 0,
    ) -> None:
        at_ms = time.time_ns() // 1_000_000 - 1000 * age_seconds
        await self.work_on(topic, key, body, headers, at_ms)

    async def close(self, *order_ids: str) -> None:
        for order_id in order_ids:
            await self.take("order-close", testing.order_close(order_id))

    def dead_letters(self) -> list[Published]:
        return self.publisher.of("dead-letters")


@asynccontextmanager
async def notifying(
    receiver: Receiver,
    limits: NotifyLimits = QUICK,
    endpoint: Endpoint = ENDPOINT,
    codecs: Codecs = CODECS,
) -> AsyncIterator[Notifying]:
    publisher = FakePublisher()
    transport = httpx.ASGITransport(receiver.app())
    async with httpx.AsyncClient(transport=transport) as client:
        deliveries = Deliveries(endpoint, "", client, publisher, codecs, limits)
        async with running(deliveries.run):
            working = Notifying(deliveries.handle, publisher)
            working.deliveries = deliveries
            yield working
