"""When a circuit breaker lets calls through."""

import asyncio

import pytest
from prometheus_client import REGISTRY

from connectors.http.circuit_breaker import CircuitBreaker, ProviderState


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def permitted(breaker: CircuitBreaker) -> bool:
    task = asyncio.ensure_future(breaker.permit())
    await asyncio.sleep(0)
    done = task.done()
    task.cancel()
    return done


def fail(breaker: CircuitBreaker, times: int) -> None:
    for _ in range(times):
        breaker.failed()


def reported_down() -> float | None:
    return REGISTRY.get_sample_value("linkstatus_provider_down", {"provider": "acme"})


async def test_five_failures_in_a_row_open_it_and_single_calls_probe(clock: Clock) -> None:
    breaker = CircuitBreaker(ProviderState("acme"), clock=clock)
    fail(breaker, 4)
    breaker.succeeded()
    fail(breaker, 4)
    assert not breaker.open
    breaker.failed()
    assert breaker.open
    assert not await permitted(breaker)
    clock.now = 1.0
    assert await permitted(breaker)
    assert not await permitted(breaker)
    breaker.failed()
    clock.now = 1.5
    assert not await permitted(breaker)
    clock.now = 3.1
    assert await permitted(breaker)
    breaker.succeeded()
    assert await permitted(breaker)
    assert await permitted(breaker)


async def test_retry_after_pauses_all_breakers_of_the_provider(clock: Clock) -> None:
    state = ProviderState("acme")
    first, second = CircuitBreaker(state, clock=clock), CircuitBreaker(state, clock=clock)
    first.failed(retry_after=30.0)
    assert first.open
    assert not second.open
    for clock.now in (0.0, 29.0):
        assert not await permitted(first)
        assert not await permitted(second)
    clock.now = 30.1
    assert await permitted(first)
    assert await permitted(second)


async def test_each_breaker_counts_its_own_failures_and_any_open_one_is_reported() -> None:
    state = ProviderState("acme")
    first, second = CircuitBreaker(state), CircuitBreaker(state)
    for breaker in (first, second):
        fail(breaker, 4)
    assert await permitted(first)
    fail(first, 3)
    assert await permitted(second)
    assert reported_down() == 1
    second.failed()
    first.succeeded()
    assert reported_down() == 1
    second.succeeded()
    assert reported_down() == 0
