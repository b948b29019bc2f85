"""Calls to a provider that fails, recovers, or always fails for one job."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from connectors.lane import Breaker, CallFailed, Lane, Later, per_second
from connectors.outward import backoff, retry_after
from connectors.provider import ApiResponse
from tests.waiting import until


@dataclass(eq=False)
class Task:
    name: str
    live: bool = True


@dataclass
class Calls:
    """What the lane did, and how each attempt is to go."""

    answer: Callable[[str, int], Later | None] = lambda name, count: None
    made: list[str] = field(default_factory=list)
    finished: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)

    async def attempt(self, task: Task) -> Later | None:
        self.made.append(task.name)
        later = self.answer(task.name, self.made.count(task.name))
        if later is None:
            self.finished.append(task.name)
        return later

    def drop(self, task: Task) -> None:
        self.dropped.append(task.name)


def a_breaker(first: float = 0.01) -> Breaker:
    return Breaker("acme", threshold=5, first=first, longest=first)


@asynccontextmanager
async def working(
    calls: Calls,
    breaker: Breaker,
    *,
    at_once: int = 8,
    pauses: tuple[float, float] = (0.001, 0.01),
) -> AsyncIterator[Lane[Task]]:
    lane: Lane[Task] = Lane(
        calls.attempt,
        calls.drop,
        breaker,
        per_second(10_000),
        at_once=at_once,
        pauses=pauses,
    )
    running = asyncio.create_task(lane.run())
    yield lane
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def fails_until(count: int) -> Callable[[str, int], Later | None]:
    def answer(name: str, number: int) -> Later | None:
        if number < count:
            raise CallFailed("down")
        return None

    return answer


async def test_a_job_is_tried_until_it_is_finished() -> None:
    calls = Calls(fails_until(20))
    async with working(calls, a_breaker()) as lane:
        lane.put(Task("a"))
        await until(lambda: calls.finished == ["a"], "the job")
    assert len(calls.made) == 20


async def test_a_job_that_always_fails_stops_no_other() -> None:
    def answer(name: str, number: int) -> Later | None:
        if name == "poison":
            raise CallFailed("never")
        return None

    calls = Calls(answer)
    async with working(calls, a_breaker()) as lane:
        lane.put(Task("poison"))
        await until(lambda: len(calls.made) > 8, "the breaker to have opened")
        for number in range(50):
            lane.put(Task(str(number)))
        await until(lambda: len(calls.finished) == 50, "the others")


async def test_our_own_mistake_costs_neither_the_job_nor_the_lane() -> None:
    def answer(name: str, number: int) -> Later | None:
        if number == 1:
            raise ZeroDivisionError
        return None

    calls = Calls(answer)
    async with working(calls, a_breaker()) as lane:
        lane.put(Task("a"))
        await until(lambda: calls.finished == ["a"], "the job")


async def test_a_job_nobody_waits_for_is_dropped_not_tried() -> None:
    calls = Calls()
    async with working(calls, a_breaker()) as lane:
        lane.put(Task("gone", live=False))
        lane.put(Task("here"))
        await until(lambda: calls.finished == ["here"], "the live job")
    assert (calls.made, calls.dropped) == (["here"], ["gone"])


async def test_while_the_provider_is_down_only_single_calls_probe() -> None:
    under_way = most = 0
    up = False

    async def attempt(task: Task) -> Later | None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1
        if not up:
            raise CallFailed("down")
        return None

    breaker = a_breaker()
    lane: Lane[Task] = Lane(
        attempt, lambda task: None, breaker, per_second(10_000), pauses=(0.001, 0.001)
    )
    running = asyncio.create_task(lane.run())
    for number in range(30):
        lane.put(Task(str(number)))
    await until(lambda: breaker.open, "the breaker to open")
    await until(lambda: under_way == 0, "the calls under way to end")
    most = 0
    await until(lambda: most > 0, "a probe")
    assert most == 1
    up = True
    await until(lambda: not breaker.open, "the breaker to close")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_lane_with_nothing_to_do_does_not_keep_the_probe_from_another() -> None:
    breaker = Breaker("acme", threshold=1, first=0.01, longest=0.01)
    late, soon = Calls(fails_until(2)), Calls(fails_until(20))
    async with (
        working(late, breaker, at_once=1, pauses=(600.0, 600.0)) as rare,
        working(soon, breaker, at_once=1) as busy,
    ):
        rare.put(Task("rare"))
        busy.put(Task("busy"))
        await until(lambda: soon.finished == ["busy"], "the other lane's job")
    assert late.made == ["rare"]


async def test_a_job_that_nobody_waits_for_leaves_the_probe_to_another_lane() -> None:
    breaker = Breaker("acme", threshold=1, first=0.01, longest=0.01)
    breaker.failed()
    calls = Calls()
    async with working(calls, breaker) as first:
        first.put(Task("gone", live=False))
        await until(lambda: calls.dropped == ["gone"], "the job to be dropped")
        async with working(calls, breaker) as second:
            second.put(Task("here"))
            await until(lambda: calls.finished == ["here"], "the live job")


async def permitted(wait: Awaitable[None]) -> bool:
    task = asyncio.ensure_future(wait)
    await asyncio.sleep(0)
    done = task.done()
    task.cancel()
    return done


async def test_the_breaker_opens_after_five_failures_in_a_row_and_lets_one_probe() -> None:
    now = 0.0
    breaker = Breaker("acme", clock=lambda: now)
    for _ in range(4):
        breaker.failed()
    breaker.worked()
    for _ in range(4):
        breaker.failed()
    assert not breaker.open
    breaker.failed()
    assert breaker.open
    assert not await permitted(breaker.permit())
    now = 1.0
    assert await permitted(breaker.permit())
    assert not await permitted(breaker.permit())
    breaker.failed()
    now = 1.5
    assert not await permitted(breaker.permit())
    now = 3.1
    assert await permitted(breaker.permit())
    breaker.worked()
    assert await permitted(breaker.permit())


async def test_the_provider_itself_says_when_to_come_again() -> None:
    now = 0.0
    breaker = Breaker("acme", clock=lambda: now)
    breaker.failed(retry_after=30.0)
    now = 29.0
    assert not await permitted(breaker.permit())
    now = 30.1
    assert await permitted(breaker.permit())


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120.0),
        ("0", 0.0),
        ("999999999999", 3600.0),
        ("Fri, 01 Mar 2024 12:00:30 GMT", 30.0),
        ("Fri, 01 Mar 2024 11:00:00 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 -2359", None),
        ("soon", None),
        ("-3", None),
        ("", None),
    ],
)
def test_retry_after_is_read_in_both_its_forms(text: str, seconds: float | None) -> None:
    now = datetime(2024, 3, 1, 12, 0, 0, tzinfo=UTC)
    assert retry_after(ApiResponse(429, b"", {"Retry-After": text}), now) == seconds


def test_pauses_grow_and_stay_bounded() -> None:
    assert 0.5 <= backoff(1, 1.0, 60.0) <= 1.0
    assert 4.0 <= backoff(4, 1.0, 60.0) <= 8.0
    assert 30.0 <= backoff(10_000, 1.0, 60.0) <= 60.0
