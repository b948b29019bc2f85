"""A rolling restart: each process ends and starts once the one before it is ready again."""

import time
from collections.abc import Sequence

from tests.chaos.system import System

# A process that starts answers no probe for seconds.
_PAUSE_SECONDS = 0.5


class Roll:
    """`supervise` goes on with it."""

    def __init__(self, system: System, names: Sequence[str]) -> None:
        self._system = system
        self._left = list(names)
        self._current: str | None = None
        self._checked_at = 0.0

    @property
    def is_done(self) -> bool:
        return self._current is None and not self._left

    def supervise(self) -> None:
        now = time.monotonic()
        if now - self._checked_at < _PAUSE_SECONDS:
            return
        self._checked_at = now
        if self._current is None or self._system.is_back(self._current):
            self._current = self._left.pop(0) if self._left else None
            if self._current:
                self._system.restart(self._current)
