"""Calls to one provider: rate-limited, held back while the provider is down, tried again until each
is finished.
"""

import asyncio
import heapq
import itertools
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from aiolimiter import AsyncLimiter
from prometheus_client import Gauge

from connectors.outward import backoff

log = logging.getLogger(__name__)

_OPEN = Gauge(
    "linkstatus_provider_down", "1 while calls to the provider are held back", ["provider"]
)


class CallFailed(Exception):
    """The provider could not be asked; a later try may succeed. `retry_after` is its own word, in
    seconds.
    """

    def __init__(self, why: str, retry_after: float | None = None) -> None:
        super().__init__(why)
        self.retry_after = retry_after


class Breaker:
    """Holds calls back after failures in a row; then lets single calls probe, at growing
    intervals.

    One `beside` another is for calls whose failures may be their own fault: each counts its own,
    and only the patience that the provider asks for holds both back.
    """

    def __init__(
        self,
        provider: str,
        threshold: int = 5,
        first: float = 1.0,
        longest: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
        beside: "Breaker | None" = None,
    ) -> None:
        self._provider = provider
        self._beside = beside
        if beside is not None:
            beside._beside = self
        self._threshold = threshold
        self._first = first
        self._longest = longest
        self._clock = clock
        self._failures = 0
        self._openings = 0
        self._next_probe = 0.0
        self._patient_until = 0.0
        self._probing = False
        self._changed = asyncio.Event()

    @property
    def open(self) -> bool:
        return self._openings > 0

    def failed(self, retry_after: float | None = None) -> None:
        """A call failed. `retry_after` opens at once: the provider itself says when to come
        again.
        """
        self._failures += 1
        if self._beside is not None and retry_after is not None:
            until = self._clock() + retry_after
            self._beside._patient_until = max(self._beside._patient_until, until)
        late = self.open and not self._probing and retry_after is None
        if late or (self._failures < self._threshold and not self.open and retry_after is None):
            return
        self._openings += 1
        self._probing = False
        pause = backoff(self._openings, self._first, self._longest)
        self._next_probe = self._clock() + max(pause, retry_after or 0.0)
        self._tell()

    def worked(self) -> None:
        """A call was answered: the provider is there."""
        self._failures = 0
        if self.open:
            self._openings = 0
            self._probing = False
            self._tell()

    async def permit(self) -> None:
        """Returns when one more call may be made."""
        while self.open or self._patient_until > self._clock():
            due = max(self._patient_until, self._next_probe if self.open else 0.0)
            wait = due - self._clock()
            if wait <= 0 and not self._probing:
                self._probing = self.open
                return
            self._changed.clear()
            try:
                async with asyncio.timeout(None if self._probing else wait):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def unused(self) -> None:
        """A permit was got, and no call made: another may have it."""
        if self._probing:
            self._probing = False
            self._tell()

    def _tell(self) -> None:
        either = self.open or (self._beside is not None and self._beside.open)
        _OPEN.labels(self._provider).set(either)
        self._changed.set()


class Job(Protocol):
    """What a lane works on."""

    @property
    def live(self) -> bool: ...


J = TypeVar("J", bound=Job)


@dataclass(frozen=True, slots=True)
class Later:
    """The job is not finished: it wants to be called again after so many seconds."""

    seconds: float


# Makes the calls of a job; None when the job is finished. Raises CallFailed.
Attempt = Callable[[J], Awaitable[Later | None]]


def per_second(rate: float) -> AsyncLimiter:
    """A limit of so many calls a second, with a burst of one second's worth, but at least one
    call.
    """
    burst = max(1.0, rate)
    return AsyncLimiter(burst, burst / rate)


class Lane(Generic[J]):
    """The jobs for one provider. Those that failed least go first, so that one that always fails
    delays none.

    A job nobody waits for any more is handed to `drop` instead of `attempt`.
    """

    def __init__(
        self,
        attempt: Attempt[J],
        drop: Callable[[J], None],
        breaker: Breaker,
        limiter: AsyncLimiter,
        *,
        at_once: int = 8,
        pauses: tuple[float, float] = (1.0, 300.0),
    ) -> None:
        self._attempt = attempt
        self._drop = drop
        self._breaker = breaker
        self._limiter = limiter
        self._slots = asyncio.Semaphore(at_once)
        self._pauses = pauses
        self._order = itertools.count()
        self._ready: list[tuple[int, int, J]] = []
        self._arrived = asyncio.Event()
        self._running: set[asyncio.Task[None]] = set()

    def put(self, job: J) -> None:
        """Takes a new job."""
        self._push(0, job)

    async def run(self) -> None:
        """Works until cancelled; what is under way then is cancelled too."""
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
        except CallFailed as failure:
            log.info("asking again later: %s", failure)
            self._breaker.failed(failure.retry_after)
            pause = max(backoff(failures + 1, *self._pauses), failure.retry_after or 0.0)
            self._push_later(pause, failures + 1, job)
        except Exception:
            # Our own mistake: the job is not lost for it, and it says nothing of the provider.
            log.exception("a call broke")
            self._breaker.worked()
            self._push_later(self._pauses[1], failures + 1, job)
        else:
            self._breaker.worked()
            if later is not None:
                self._push_later(later.seconds, failures, job)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._slots.release()

    def _push_later(self, seconds: float, failures: int, job: J) -> None:
        asyncio.get_running_loop().call_later(seconds, self._push, failures, job)

    def _push(self, failures: int, job: J) -> None:
        heapq.heappush(self._ready, (failures, next(self._order), job))
        self._arrived.set()

    async def _next(self) -> tuple[int, J]:
        """The job to call for now. The permit comes last: several lanes share the breaker, and one
        that held its only probe while it waits for a job would hold up all others.
        """
        while True:
            while not self._ready:
                self._arrived.clear()
                await self._arrived.wait()
            await self._limiter.acquire()
            await self._breaker.permit()
            if (found := self._pop()) is not None:
                return found
            self._breaker.unused()

    def _pop(self) -> tuple[int, J] | None:
        while self._ready:
            failures, _, job = heapq.heappop(self._ready)
            if job.live:
                return failures, job
            self._drop(job)
        return None
