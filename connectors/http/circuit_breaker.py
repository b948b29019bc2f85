"""A circuit breaker: after repeated failures, calls to a provider pause.

Own code: the circuit breakers on PyPI refuse a call with an exception. Here the calls must wait,
one at a time must probe, and the provider's Retry-After (RFC 9110 §10.2.3) decides for how long.
"""

import asyncio
import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass

from prometheus_client import Gauge

from connectors.backoff import backoff

_OPEN = Gauge(
    "linkstatus_provider_down",
    "1 while calls to the provider pause after failures",
    ["provider"],
)


@dataclass(slots=True)
class ProviderState:
    """What all circuit breakers of one provider share. `gauge` is 1 while any of them is open."""

    provider: str
    gauge: Gauge = _OPEN
    # Until when the provider asked us to wait, by the breakers' clock.
    retry_at: float = 0.0
    open_breakers: int = 0

    def count_open(self, change: int) -> None:
        self.open_breakers += change
        self.gauge.labels(self.provider).set(self.open_breakers > 0)


class CircuitBreaker:
    """Pauses calls after failures in a row; then lets single calls probe, at growing intervals.

    Each breaker counts its own failures. A Retry-After pauses all breakers of the same `state`.
    """

    def __init__(
        self,
        state: ProviderState,
        threshold: int = 5,
        pauses: tuple[float, float] = (1.0, 60.0),
        clock: Callable[[], float] | None = None,
    ) -> None:
        """`pauses` are the first and the longest pause between probes, in seconds. `clock` replaces
        that of the event loop.
        """
        self._state = state
        self._threshold = threshold
        self._pauses = pauses
        self._clock = clock or asyncio.get_running_loop().time
        self._failures = 0
        self._openings = 0
        self._next_probe = 0.0
        self._probing = False
        self._changed = asyncio.Event()

    @property
    def open(self) -> bool:
        return self._openings > 0

    @property
    def holds(self) -> bool:
        """Whether calls wait at the provider's wish, or because it is down."""
        return self.open or self._clock() < self._state.retry_at

    def failed(self, retry_after: float | None = None) -> None:
        """Note a failed call. `retry_after`, the seconds that the provider asks us to wait, opens
        the breaker at once.
        """
        self._failures += 1
        now = self._clock()
        if retry_after is not None:
            self._state.retry_at = max(self._state.retry_at, now + retry_after)
        elif not self._probing and (self.open or self._failures < self._threshold):
            # Too few failures yet, or a call that began before the breaker opened.
            return
        if not self.open:
            self._state.count_open(1)
        self._openings += 1
        self._next_probe = now + backoff(self._openings, *self._pauses)
        self._end_probe()

    def succeeded(self) -> None:
        """Note an answered call: the provider is up."""
        self._failures = 0
        if self.open:
            self._state.count_open(-1)
            self._openings = 0
            self._end_probe()

    def cancel_permit(self) -> None:
        """Note that a permitted call was not made: another call may probe."""
        if self._probing:
            self._end_probe()

    async def permit(self) -> None:
        """Return when one more call may be made."""
        while (wait := self._permit_at() - self._clock()) > 0:
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if wait == math.inf else wait):
                    await self._changed.wait()
        self._probing = self.open

    def _permit_at(self) -> float:
        if self._probing:
            return math.inf
        return max(self._state.retry_at, self._next_probe if self.open else 0.0)

    def _end_probe(self) -> None:
        self._probing = False
        self._changed.set()
