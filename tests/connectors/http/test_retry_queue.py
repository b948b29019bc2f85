"""Calls to a provider that fails, recovers, or always fails for one job."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from connectors.backoff import backoff
from connectors.http.circuit_breaker import CircuitBreaker, ProviderState
from connectors.http.retry_queue import CallFailed, RetryLater, RetryQueue, rate_limit
from tests.support.running import running
from tests.support.waiting import until


@dataclass(eq=False)
class Job:
    name: str
    live: bool = True
    lane: str = ""


@dataclass
class Calls:
    """The calls of a queue, and the result of each: by job name and number of the call."""

    result: Callable[[str, int], RetryLater | None] = lambda name, count: None
    made: list[str] = field(default_factory=list)
    finished: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    running: int = 0
    most_running: int = 0

    async def attempt(self, job: Job) -> RetryLater | None:
        self.made.append(job.name)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        await asyncio.sleep(0)
        self.running -= 1
        later = self.result(job.name, self.made.count(job.name))
        if later is None:
            self.finished.append(job.name)
        return later

    def drop(self, job: Job) -> None:
        self.dropped.append(job.name)


def new_breaker(threshold: int = 5) -> CircuitBreaker:
    return CircuitBreaker(ProviderState("acme"), threshold, pauses=(0.01, 0.01))


@asynccontextmanager
async def working(
    calls: Calls,
    breaker: CircuitBreaker,
    *,
    max_concurrency: int = 8,
    pauses: tuple[float, float] = (0.001, 0.01),
) -> AsyncIterator[RetryQueue[Job]]:
    queue: RetryQueue[Job] = RetryQueue(
        calls.attempt,
        calls.drop,
        breaker,
        rate_limit(10_000),
        max_concurrency=max_concurrency,
        pauses=pauses,
    )
    async with running(queue.run):
        yield queue


def fails_until(count: int) -> Callable[[str, int], RetryLater | None]:
    def result(name: str, number: int) -> RetryLater | None:
        if number < count:
            raise CallFailed("down")
        return None

    return result


async def test_job_is_retried_until_it_is_finished() -> None:
    calls = Calls(fails_until(20))
    async with working(calls, new_breaker()) as queue:
        queue.put(Job("a"))
        await until(lambda: calls.finished == ["a"], "the job")
    assert len(calls.made) == 20


async def test_job_that_always_fails_stops_no_other() -> None:
    def result(name: str, number: int) -> RetryLater | None:
        if name == "poison":
            raise CallFailed("never")
        return None

    calls = Calls(result)
    async with working(calls, new_breaker()) as queue:
        queue.put(Job("poison"))
        await until(lambda: len(calls.made) > 8, "the breaker to open")
        for number in range(50):
            queue.put(Job(str(number)))
        await until(lambda: len(calls.finished) == 50, "the others")


async def test_defect_of_ours_loses_no_job_and_stops_no_other() -> None:
    def result(name: str, number: int) -> RetryLater | None:
        if number == 1:
            raise ZeroDivisionError
        return None

    calls = Calls(result)
    async with working(calls, new_breaker()) as queue:
        queue.put(Job("a"))
        await until(lambda: calls.finished == ["a"], "the job")


async def test_job_that_is_no_longer_live_is_dropped() -> None:
    calls = Calls()
    async with working(calls, new_breaker()) as queue:
        queue.put(Job("gone", live=False))
        queue.put(Job("here"))
        await until(lambda: calls.finished == ["here"], "the live job")
    assert (calls.made, calls.dropped) == (["here"], ["gone"])


async def test_only_single_calls_probe_while_the_provider_is_down() -> None:
    up = False

    def result(name: str, number: int) -> RetryLater | None:
        if not up:
            raise CallFailed("down")
        return None

    breaker, calls = new_breaker(), Calls(result)
    async with working(calls, breaker, pauses=(0.001, 0.001)) as queue:
        for number in range(30):
            queue.put(Job(str(number)))
        await until(lambda: breaker.open, "the breaker to open")
        await until(lambda: calls.running == 0, "the running calls to end")
        calls.most_running = 0
        await until(lambda: calls.most_running > 0, "a probe")
        assert calls.most_running == 1
        up = True
        await until(lambda: not breaker.open, "the breaker to close")


async def test_idle_queue_leaves_the_probe_to_another() -> None:
    breaker = new_breaker(threshold=1)
    rare, busy = Calls(fails_until(2)), Calls(fails_until(20))
    async with (
        working(rare, breaker, max_concurrency=1, pauses=(600.0, 600.0)) as idle,
        working(busy, breaker, max_concurrency=1) as queue,
    ):
        idle.put(Job("rare"))
        queue.put(Job("busy"))
        await until(lambda: busy.finished == ["busy"], "the other queue's job")
    assert rare.made == ["rare"]


async def test_dropped_job_leaves_the_probe_to_another_queue() -> None:
    breaker = new_breaker(threshold=1)
    breaker.failed()
    calls = Calls()
    async with working(calls, breaker) as first:
        first.put(Job("gone", live=False))
        await until(lambda: calls.dropped == ["gone"], "the job to be dropped")
        async with working(calls, breaker) as second:
            second.put(Job("here"))
            await until(lambda: calls.finished == ["here"], "the live job")


def test_pauses_grow_up_to_a_limit() -> None:
    assert 0.5 <= backoff(1, 1.0, 60.0) <= 1.0
    assert 4.0 <= backoff(4, 1.0, 60.0) <= 8.0
    assert 30.0 <= backoff(10_000, 1.0, 60.0) <= 60.0


async def test_d3_lanes_take_turns_however_many_jobs_one_has() -> None:
    calls = Calls()
    async with working(calls, new_breaker(), max_concurrency=1) as queue:
        for number in range(1000):
            queue.put(Job(f"flood-{number}", lane="flood"))
        for number in range(3):
            queue.put(Job(f"honest-{number}", lane="honest"))
        await until(lambda: len(calls.finished) == 1003, "all jobs")
    assert max(calls.made.index(f"honest-{number}") for number in range(3)) < 10


async def test_d3_job_that_asks_again_is_not_behind_the_new_jobs_of_another_lane() -> None:
    calls = Calls(lambda name, count: RetryLater(0) if (name, count) == ("honest", 1) else None)
    async with working(calls, new_breaker(), max_concurrency=1) as queue:
        for number in range(1000):
            queue.put(Job(f"flood-{number}", lane="flood"))
        queue.put(Job("honest", lane="honest"))
        await until(lambda: "honest" in calls.finished, "the job that asks again")
    first = calls.made.index("honest")
    assert calls.made.index("honest", first + 1) < first + 20
