"""The settle process: what is asked of Ping, what its answers mean, and what is reported."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import httpx
import pytest
from prometheus_client import REGISTRY

from connectors.kafka import Cluster
from connectors.order_api import Done, OrderAction, Refused, Wait
from connectors.ping import PingConfig
from connectors.ping.orders import PingOrders
from connectors.progress import Progress
from connectors.provider import ApiResponse
from connectors.settle import Office
from connectors.settle.desk import Desk, SettleLimits
from schemas import codec
from schemas.codec import ORDER_CLOSE, ORDER_UPDATE, SETTLEMENT
from schemas.records import SettlementKind
from tests.connectors.outside import UNKNOWN, Shelf, slow_registry, somebodys, taken
from tests.waiting import until

QUICK = SettleLimits(
    per_second=10_000,
    give_up_after=10**12,
    wait_pauses=(0.001, 0.01),
    retry_pauses=(0.001, 0.01),
    breaker_pauses=(0.001, 0.01),
)
PING = PingOrders(
    PingConfig.model_validate(
        {
            "payments_url": "http://ping.test/payments",
            "tenant_id": "a tenant",
            "api_secret": "s3cret",
        }
    )
)
NOT_ENDED = {"errors": [{"error": "operation_forbidden", "description": "payments not ended"}]}


class Payments:
    """Ping's Payments API: answers each call of an order with its statuses in turn, then 204."""

    def __init__(self, **answers: list[int | Exception]) -> None:
        self.answers = answers
        self.called: list[str] = []

    async def answer(self, request: httpx.Request) -> httpx.Response:
        order, action = request.url.path.split("/")[-2:]
        self.called.append(f"{order} {action}")
        said = self.answers.get(f"{order}_{action}") or [204]
        word = said.pop(0)
        if isinstance(word, Exception):
            raise word
        return httpx.Response(word, json=None if word == 204 else NOT_ENDED)


def close(order_id: str, provider: str = "ping", decided_at: int = 1) -> bytes:
    return ORDER_CLOSE.encode(
        {
            "event_id": "e",
            "provider": provider,
            "order_id": order_id,
            "links": [],
            "total_minor": None,
            "currency": None,
            "decided_at": decided_at,
        }
    )


def settlement(order_id: str, kind: SettlementKind = "REQUESTED") -> bytes:
    return SETTLEMENT.encode(
        {
            "event_id": "e",
            "provider": "ping",
            "order_id": order_id,
            "kind": kind,
            "payment_ids": [],
            "amount_minor": None,
            "currency": None,
            "decided_at": 1,
        }
    )


class Working:
    """The office at work, what it reported, and the progress of what it took."""

    def __init__(self, office: Office, shelf: Shelf) -> None:
        self.office = office
        self.shelf = shelf
        self.progress = Progress()
        self._offset = 0

    async def take(self, topic: str, value: bytes) -> None:
        await self.office.take(taken(topic, b"ping:o", value, self.progress, self._offset))
        self._offset += 1

    def reported(self) -> list[tuple[str, str]]:
        updates = [ORDER_UPDATE.decode(r.value) for r in self.shelf.of("order-updates")]
        return [(update["order_id"], update["step"]) for update in updates]

    async def finished(self) -> list[tuple[str, str]]:
        await until(lambda: self.progress.waiting == 0, "the orders to be done")
        return self.reported()


@asynccontextmanager
async def settling(payments: Payments, limits: SettleLimits = QUICK) -> AsyncIterator[Working]:
    shelf = Shelf()
    async with httpx.AsyncClient(transport=httpx.MockTransport(payments.answer)) as client:
        desk = Desk("ping", PING, client, shelf, limits)
        running = asyncio.create_task(desk.run())
        yield Working(Office(Cluster(""), {"ping": desk}, shelf, limits), shelf)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.mark.parametrize(
    ("action", "fast_forward", "path", "body"),
    [
        ("CLOSE", False, "close", {}),
        ("CLOSE", True, "close", {}),
        ("SPLIT", False, "split", {"fast_forward": False}),
        ("SETTLE", False, "settle", {"fast_forward": False}),
        ("SETTLE", True, "settle", {"fast_forward": True}),
    ],
)
def test_the_request_is_what_pings_reference_says(
    action: OrderAction, fast_forward: bool, path: str, body: dict[str, bool]
) -> None:
    request = PING.step("an/order", action, fast_forward)
    url = f"http://ping.test/payments/api/v1/payment_orders/an%2Forder/{path}"
    assert (request.method, request.url) == ("PUT", url)
    assert json.loads(request.body) == body
    assert request.headers["tenant_id"] == "a tenant"
    assert request.headers["x-api-secret"] == "s3cret"


@pytest.mark.parametrize(
    ("status", "kind"),
    [(204, Done), (200, Done), (404, Refused), (422, Refused), (400, Refused)]
    + [(status, Wait) for status in (301, 401, 403, 409, 429, 500, 502, 503)],
)
def test_every_answer_has_its_meaning(status: int, kind: type) -> None:
    assert isinstance(PING.judge("CLOSE", ApiResponse(status)), kind)


def test_only_what_any_order_would_meet_says_that_the_provider_is_down() -> None:
    for status, down in {403: False, 409: False, 401: True, 429: True, 500: True}.items():
        verdict = PING.judge("CLOSE", ApiResponse(status))
        assert isinstance(verdict, Wait)
        assert verdict.provider_down is down


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (json.dumps(NOT_ENDED).encode(), "operation_forbidden payments not ended"),
        (b'{"error": "not_found"}', "not_found"),
        (b"<html>", "<html>"),
        (b"[1]", "[1]"),
        (b'{"errors": 7}', "7"),
        (b"\xff" * 2000, "\ufffd" * 500),
        (b"[" * 100_000, "[" * 500),
    ],
)
def test_the_reason_is_in_the_providers_words(body: bytes, words: str) -> None:
    verdict = PING.judge("SPLIT", ApiResponse(404, body))
    assert verdict == Refused(f"SPLIT answered 404: {words}")


async def test_an_order_is_closed_and_that_is_reported() -> None:
    payments = Payments()
    async with settling(payments) as working:
        await working.take("order-close", close("o1"))
        assert await working.finished() == [("o1", "CLOSED")]
        (record,) = working.shelf.records
    assert record.key == b"ping:o1"
    assert payments.called == ["o1 close"]


async def test_a_requested_settlement_is_split_and_then_settled() -> None:
    payments = Payments()
    async with settling(payments) as working:
        await working.take("settlement", settlement("o1"))
        assert await working.finished() == [("o1", "SPLIT"), ("o1", "SETTLED")]
    assert payments.called == ["o1 split", "o1 settle"]


async def test_fast_forward_makes_one_call_of_both() -> None:
    payments = Payments()
    async with settling(payments, replace(QUICK, fast_forward=True)) as working:
        await working.take("settlement", settlement("o1"))
        assert await working.finished() == [("o1", "SPLIT"), ("o1", "SETTLED")]
    assert payments.called == ["o1 settle"]


@pytest.mark.parametrize("topic", ["order-close", "settlement"])
async def test_nobody_waits_while_a_schema_is_asked_for(topic: str) -> None:
    text, value = {
        "order-close": (codec.ORDER_CLOSE.text, close("o1")),
        "settlement": (codec.SETTLEMENT.text, settlement("o1")),
    }[topic]
    async with settling(Payments()) as working:
        with slow_registry(text) as let_go:
            await asyncio.gather(working.take(topic, somebodys(value)), let_go())
        assert await working.finished() != []


async def test_what_goes_elsewhere_while_its_schema_is_asked_for_dies_there_alone() -> None:
    async with settling(Payments()) as working:
        with slow_registry(codec.ORDER_CLOSE.text) as let_go:
            taking = asyncio.create_task(working.take("order-close", UNKNOWN))
            await asyncio.sleep(0)  # now it asks
            working.progress.live = False
            await asyncio.gather(taking, let_go())
        assert working.shelf.records == []


@pytest.mark.parametrize("kind", ["EXPECTED", "CONFIRMED"])
async def test_only_a_request_is_acted_on(kind: SettlementKind) -> None:
    payments = Payments()
    async with settling(payments) as working:
        await working.take("settlement", settlement("o1", kind))
        await working.take("order-close", close("o2", provider="peach"))
        assert await working.finished() == []
    assert payments.called == []


async def test_an_order_with_open_payments_waits_and_holds_up_no_other() -> None:
    payments = Payments(o1_close=[403] * 40)
    async with settling(payments) as working:
        await working.take("order-close", close("o1"))
        for number in range(2, 30):
            await working.take("order-close", close(f"o{number}"))
        finished = await working.finished()
    assert finished[-1] == ("o1", "CLOSED")
    assert len(finished) == 29


async def test_an_order_never_ready_is_given_up_with_the_providers_words() -> None:
    async with settling(Payments(o1_close=[403] * 9), replace(QUICK, give_up_after=1)) as working:
        await working.take("order-close", close("o1"))
        assert await working.finished() == [("o1", "FAILED")]
        update = ORDER_UPDATE.decode(working.shelf.records[0].value)
    assert "operation_forbidden" in (update["reason"] or "")


@pytest.mark.parametrize(
    "failure",
    [
        500,
        429,
        401,
        httpx.ConnectError("away"),
        httpx.ReadTimeout("slow"),
        httpx.DecodingError("?"),
    ],
    ids=repr,
)
async def test_a_provider_that_is_down_is_asked_again_without_end(
    failure: int | Exception,
) -> None:
    limits = replace(QUICK, give_up_after=1)
    async with settling(Payments(o1_settle=[failure] * 30), limits) as working:
        await working.take("settlement", settlement("o1"))
        assert await working.finished() == [("o1", "SPLIT"), ("o1", "SETTLED")]


async def test_an_order_the_provider_refuses_is_reported_as_failed() -> None:
    payments = Payments(o1_split=[404])
    async with settling(payments) as working:
        await working.take("settlement", settlement("o1"))
        assert await working.finished() == [("o1", "FAILED")]
    assert payments.called == ["o1 split"]


async def test_what_asks_for_the_same_is_done_once() -> None:
    payments = Payments(o1_close=[403, 403])
    async with settling(payments) as working:
        for _ in range(5):
            await working.take("order-close", close("o1"))
        assert await working.finished() == [("o1", "CLOSED")]


def dead_letters() -> float:
    labels = {"stage": "settle", "kind": "BadRecord"}
    return REGISTRY.get_sample_value("linkstatus_dead_letters_total", labels) or 0.0


@pytest.mark.parametrize("topic", ["order-close", "settlement"])
async def test_a_broken_record_becomes_a_dead_letter_and_stops_nothing(topic: str) -> None:
    before = dead_letters()
    async with settling(Payments()) as working:
        await working.take(topic, b"junk")
        await working.take("order-close", close("o1"))
        assert await working.finished() == [("o1", "CLOSED")]
        (letter,) = working.shelf.of("dead-letters")
    assert (letter.value, letter.headers["stage"]) == (b"junk", b"settle")
    assert dead_letters() == before + 1
