"""The settle executor: what it asks of Ping, and what it reports."""

import asyncio
from dataclasses import replace

import httpx
import pytest
from prometheus_client import REGISTRY

from schemas.codec import ORDER_CLOSE, ORDER_UPDATE, SETTLEMENT
from schemas.records import SettlementKind
from tests.connectors.settle.harness import QUICK, Payments, close, settlement, settling
from tests.support.codecs import CODECS
from tests.support.fakes import slow_registry, with_foreign_id

RECORDS = {"order-close": close("o1"), "settlement": settlement("o1")}
SCHEMAS = {"order-close": ORDER_CLOSE.text, "settlement": SETTLEMENT.text}


@pytest.mark.parametrize(
    ("topic", "fast_forward", "calls", "reports"),
    [
        ("order-close", False, ["o1 close"], ["CLOSED"]),
        ("settlement", False, ["o1 split", "o1 settle"], ["SPLIT", "SETTLED"]),
        ("settlement", True, ["o1 settle"], ["SPLIT", "SETTLED"]),
    ],
    ids=["close", "settle", "settle with fast forward"],
)
async def test_each_step_is_performed_and_reported(
    topic: str, fast_forward: bool, calls: list[str], reports: list[str]
) -> None:
    payments = Payments()
    async with settling(payments, replace(QUICK, fast_forward=fast_forward)) as working:
        await working.take(topic, RECORDS[topic])
        assert await working.finished() == [("o1", step) for step in reports]
    assert {record.key for record in working.publisher.records} == {b"ping:o1"}
    assert payments.called == calls


@pytest.mark.parametrize("topic", RECORDS)
async def test_schema_lookup_does_not_block_the_event_loop(topic: str) -> None:
    codecs, let_end = slow_registry(SCHEMAS[topic])
    async with settling(Payments(), codecs=codecs) as working:
        await asyncio.gather(working.take(topic, with_foreign_id(RECORDS[topic])), let_end())
        assert await working.finished() != []


@pytest.mark.parametrize("kind", ["EXPECTED", "CONFIRMED"])
async def test_only_requested_settlements_of_the_provider_are_performed(
    kind: SettlementKind,
) -> None:
    payments = Payments()
    async with settling(payments) as working:
        await working.take("settlement", settlement("o1", kind))
        await working.take("order-close", close("o2", provider="peach"))
        assert await working.finished() == []
    assert payments.called == []


async def test_order_with_open_payments_waits_and_delays_no_other() -> None:
    payments = Payments(o1_close=[403] * 40)
    async with settling(payments) as working:
        await working.take("order-close", close("o1"))
        for number in range(2, 30):
            await working.take("order-close", close(f"o{number}"))
        finished = await working.finished()
    assert finished[-1] == ("o1", "CLOSED")
    assert len(finished) == 29


async def test_order_that_is_never_ready_fails_with_the_reason_of_the_provider() -> None:
    async with settling(Payments(o1_close=[403] * 9), replace(QUICK, give_up_after=1)) as working:
        await working.take("order-close", close("o1"))
        assert await working.finished() == [("o1", "FAILED")]
        update = CODECS.decode(ORDER_UPDATE, working.publisher.records[0].value)
    assert "operation_forbidden" in (update["reason"] or "")


FAILURES = [
    *(500, 429, 401),
    *(httpx.ConnectError("away"), httpx.ReadTimeout("slow"), httpx.DecodingError("?")),
]


@pytest.mark.parametrize("failure", FAILURES, ids=repr)
async def test_retryable_failure_is_retried_without_end(failure: int | Exception) -> None:
    limits = replace(QUICK, give_up_after=1)
    async with settling(Payments(o1_settle=[failure] * 30), limits) as working:
        await working.take("settlement", settlement("o1"))
        assert await working.finished() == [("o1", "SPLIT"), ("o1", "SETTLED")]


async def test_refused_order_is_reported_once_as_failed_with_the_reason_of_the_provider() -> None:
    payments = Payments(o1_split=[404])
    async with settling(payments) as working:
        await working.take("settlement", settlement("o1"))
        assert await working.finished() == [("o1", "FAILED")]
        update = CODECS.decode(ORDER_UPDATE, working.publisher.records[0].value)
    assert payments.called == ["o1 split"]
    assert (update["reason"] or "").startswith("SPLIT answered 404: operation_forbidden")


async def test_same_requests_are_performed_once() -> None:
    payments = Payments(o1_close=[403, 403])
    async with settling(payments) as working:
        for _ in range(5):
            await working.take("order-close", close("o1"))
        assert await working.finished() == [("o1", "CLOSED")]


def dead_letters() -> float:
    labels = {"stage": "settle", "kind": "BadRecord"}
    return REGISTRY.get_sample_value("linkstatus_dead_letters_total", labels) or 0.0


@pytest.mark.parametrize("topic", RECORDS)
async def test_broken_record_becomes_a_dead_letter_and_stops_nothing(topic: str) -> None:
    before = dead_letters()
    async with settling(Payments()) as working:
        await working.take(topic, b"junk")
        await working.take("order-close", close("o1"))
        assert await working.finished() == [("o1", "CLOSED")]
        (letter,) = working.publisher.of("dead-letters")
    assert (letter.value, letter.headers["stage"]) == (b"junk", b"settle")
    assert dead_letters() == before + 1
