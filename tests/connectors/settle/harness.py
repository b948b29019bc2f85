"""The process `settle` at work, between a fake Kafka and Ping's Payments API."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from connectors.providers.order_api import OrderApi
from connectors.settle.dispatcher import Dispatcher
from connectors.settle.executor import SettleExecutor
from connectors.settle.jobs import SettleLimits
from schemas.codec import ORDER_CLOSE, ORDER_UPDATE, SETTLEMENT, Codecs
from schemas.records import OrderClose, Settlement, SettlementKind
from tests.connectors.providers.test_ping_orders import NOT_ENDED, ORDERS
from tests.support.codecs import CODECS
from tests.support.fakes import FakePublisher
from tests.support.running import Answers, Working, client_of, running

AT = 1_700_000_000_000_000
QUICK = SettleLimits(
    per_second=10_000,
    give_up_after=10**12,
    wait_pauses=(0.001, 0.01),
    retry_pauses=(0.001, 0.01),
    breaker_pauses=(0.001, 0.01),
)


class Payments:
    """Ping's Payments API: answers each call of an order with its statuses in turn, then 204."""

    def __init__(self, **answers: list[int | Exception]) -> None:
        self.answers = answers
        self.called: list[str] = []

    async def answer(self, request: httpx.Request) -> httpx.Response:
        order, action = request.url.path.split("/")[-2:]
        self.called.append(f"{order} {action}")
        answers = self.answers.get(f"{order}_{action}") or [204]
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer, json=None if answer == 204 else NOT_ENDED)


def close(order_id: str, provider: str = "ping", decided_at: int = AT) -> bytes:
    record: OrderClose = {
        "event_id": "e",
        "provider": provider,
        "order_id": order_id,
        "links": [],
        "total_minor": None,
        "currency": None,
        "decided_at": decided_at,
    }
    return CODECS.encode(ORDER_CLOSE, record)


def settlement(order_id: str, kind: SettlementKind = "REQUESTED") -> bytes:
    record: Settlement = {
        "event_id": "e",
        "provider": "ping",
        "order_id": order_id,
        "kind": kind,
        "payment_ids": [],
        "amount_minor": None,
        "currency": None,
        "decided_at": AT,
    }
    return CODECS.encode(SETTLEMENT, record)


class Settling(Working):
    """The process at work."""

    async def take(self, topic: str, value: bytes) -> None:
        await self.work_on(topic, b"ping:o", value)

    async def finished(self) -> list[tuple[str, str]]:
        """Return order and step of each report, once all orders are done."""
        await self.end()
        updates = [CODECS.decode(ORDER_UPDATE, r.value) for r in self.publisher.of("order-updates")]
        return [(update["order_id"], update["step"]) for update in updates]


@asynccontextmanager
async def settling(
    payments: Answers,
    limits: SettleLimits = QUICK,
    codecs: Codecs = CODECS,
    api: OrderApi = ORDERS,
    shelf: FakePublisher | None = None,
) -> AsyncIterator[Settling]:
    publisher = shelf or FakePublisher()
    async with client_of(payments) as client:
        executor = SettleExecutor("ping", api, client, publisher, codecs, limits)
        dispatcher = Dispatcher("", {"ping": executor}, publisher, codecs, limits)
        async with running(executor.run):
            yield Settling(dispatcher.handle, publisher)
