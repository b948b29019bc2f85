"""An event loop whose clock jumps: hours of waiting pass at once."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any

_LEAST = 1e-5


class _Impatient(selectors.DefaultSelector):
    """Passes the time until the next timer at once if there is nothing to do."""

    def __init__(self, passes: Callable[[float], None]) -> None:
        super().__init__()
        self._passes = passes

    def select(self, timeout: float | None = None) -> Any:
        events = super().select(None if timeout is None else 0)
        if not events:
            # Pass some time always: a timer set for now would be set again and again.
            self._passes(max(timeout or 0.0, _LEAST))
        return events


class RunningAhead(asyncio.SelectorEventLoop):
    """Its time begins at 0. Only for code without I/O: a pending answer would look like
    nothing to do.
    """

    def __init__(self) -> None:
        self._now = 0.0
        super().__init__(_Impatient(self._pass))

    def time(self) -> float:
        return self._now

    def _pass(self, seconds: float) -> None:
        self._now += seconds


def run_ahead(test: Coroutine[Any, Any, None]) -> None:
    """Run the test in such a loop."""
    with asyncio.Runner(loop_factory=RunningAhead) as runner:
        runner.run(test)
