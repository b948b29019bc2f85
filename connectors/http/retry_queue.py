"""Calls to one provider: rate-limited, paused while the provider is down, retried until finished.

Own code on top of aiolimiter: libraries for retries repeat one call in place. Here failed calls go
back into a queue behind fresh ones, and all of them share one limit and one circuit breaker.
"""

import asyncio
import heapq
import itertools
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from aiolimiter import AsyncLimiter

from connectors.backoff import backoff
from connectors.http.circuit_breaker import CircuitBreaker
from connectors.reasons import reason_of

log = logging.getLogger(__name__)


class CallFailed(Exception):
    """The call failed, and a later try may succeed. `retry_after` are the seconds that the provider
    asks us to wait.
    """

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class Queued(Hashable, Protocol):
    """A job that a retry queue can hold."""

    @property
    def live(self) -> bool:
        """Whether the job is still needed."""

    @property
    def lane(self) -> str:
        """Lanes take turns: many jobs in one delay no job in another."""


J = TypeVar("J", bound=Queued)


@dataclass(frozen=True, slots=True)
class RetryLater:
    """The job needs another call after so many seconds, and has not failed."""

    seconds: float


# Makes the calls of a job; returns None when the job is finished. Raises CallFailed.
Attempt = Callable[[J], Awaitable[RetryLater | None]]


def rate_limit(calls: float, seconds: float = 1.0) -> AsyncLimiter:
    """Return a limit of so many calls in so many seconds, with a burst of the same number, but of
    at least one call.
    """
    burst = max(1.0, calls)
    return AsyncLimiter(burst, seconds * burst / calls)


class RetryQueue(Generic[J]):
    """The jobs for one provider. Each lane in turn makes a call; in a lane, jobs with the fewest
    calls go first, so that one that always fails or asks again delays no other.

    A job that is no longer live goes to `drop` instead of `attempt`.
    """

    def __init__(
        self,
        attempt: Attempt[J],
        drop: Callable[[J], None],
        breaker: CircuitBreaker,
        limiter: AsyncLimiter,
        *,
        max_concurrency: int = 8,
        pauses: tuple[float, float] = (1.0, 300.0),
    ) -> None:
        self._attempt = attempt
        self._drop = drop
        self._breaker = breaker
        self._limiter = limiter
        self._slots = asyncio.Semaphore(max_concurrency)
        self._pauses = pauses
        self._order = itertools.count()
        # The heaps of jobs, that of the next lane first.
        self._lanes: OrderedDict[str, list[tuple[int, int, J]]] = OrderedDict()
        self._arrived = asyncio.Event()
        self._running: set[asyncio.Task[None]] = set()
        self._calls = 0
        # The jobs whose last call failed by a defect of ours, with the error.
        self._defects: dict[Hashable, str] = {}

    def put(self, job: J) -> None:
        """Add a new job."""
        self._push(0, job)

    def in_work(self) -> dict[Hashable, str]:
        """Return what ends or changes soon unless the queue has stopped, with an error if known:
        the running calls, the jobs that a defect holds up, and, while calls are due, their number
        so far. Jobs that wait at the provider's wish are not among them. For any thread.
        """
        in_work: dict[Hashable, str] = dict.fromkeys(self._running, "")
        if self._lanes and not self._breaker.holds:
            in_work[self, self._calls] = ""
        return {**in_work, **self._defects}

    async def run(self) -> None:
        """Work until cancelled; this also cancels the running calls."""
        try:
            while True:
                await self._slots.acquire()
                failures, job = await self._next()
                task = asyncio.create_task(self._call(failures, job))
                self._running.add(task)
                task.add_done_callback(self._ended)
        finally:
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)

    async def _call(self, failures: int, job: J) -> None:
        try:
            later = await self._attempt(job)
            self._defects.pop(job, None)
        except CallFailed as failure:
            self._defects.pop(job, None)
            log.info("the call is retried later: %s", failure)
            self._breaker.failed(failure.retry_after)
            pause = max(backoff(failures + 1, *self._pauses), failure.retry_after or 0.0)
            self._push_later(pause, failures + 1, job)
        except Exception as error:
            # A defect of ours: the job stays, and the provider is not to blame.
            log.exception("a call failed by a defect")
            self._defects[job] = reason_of(error)
            self._breaker.succeeded()
            self._push_later(self._pauses[1], failures + 1, job)
        else:
            self._breaker.succeeded()
            if later is not None:
                # The first call of every job comes before the second one of any.
                self._push_later(later.seconds, failures + 1, job)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._calls += 1
        self._slots.release()

    def _push_later(self, seconds: float, failures: int, job: J) -> None:
        asyncio.get_running_loop().call_later(seconds, self._push, failures, job)

    def _push(self, failures: int, job: J) -> None:
        jobs = self._lanes.setdefault(job.lane, [])
        heapq.heappush(jobs, (failures, next(self._order), job))
        self._arrived.set()

    async def _next(self) -> tuple[int, J]:
        """Return the next job to call for. The permit comes last: several queues may share the
        breaker, and a queue that waits for a job must not hold the only probe.
        """
        while True:
            while not self._lanes:
                self._arrived.clear()
                await self._arrived.wait()
            await self._limiter.acquire()
            await self._breaker.permit()
            if (entry := self._pop()) is not None:
                return entry
            self._breaker.cancel_permit()

    def _pop(self) -> tuple[int, J] | None:
        while self._lanes:
            lane, jobs = self._lanes.popitem(last=False)
            failures, _, job = heapq.heappop(jobs)
            if jobs:
                self._lanes[lane] = jobs
            if job.live:
                return failures, job
            self._defects.pop(job, None)
            self._drop(job)
        return None
