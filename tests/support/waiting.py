"""Wait for a condition, never for a time."""

import asyncio
import time
from collections.abc import Callable, Iterator

# Only a failure waits so long; a busy machine is slow and must not fail.
PATIENCE = 60.0
_PAUSE_SECONDS = 0.02


def _attempts(what: str, seconds: float) -> Iterator[None]:
    """Yield until the time is over, then fail."""
    deadline = time.monotonic() + seconds
    while time.monotonic() <= deadline:
        yield
    raise AssertionError(f"waited {seconds:.0f} s for {what}")


async def until(condition: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
    """Return once `condition` holds; fail and name `what` after `seconds`."""
    for _ in _attempts(what, seconds):
        if condition():
            return
        await asyncio.sleep(_PAUSE_SECONDS)


async def until_threaded(condition: Callable[[], bool], what: str) -> None:
    """Like `until`, for a condition that blocks: it runs in a thread."""
    for _ in _attempts(what, PATIENCE):
        if await asyncio.to_thread(condition):
            return


def until_sync(condition: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
    """Like `until`, for tests without an event loop."""
    for _ in _attempts(what, seconds):
        if condition():
            return
        time.sleep(_PAUSE_SECONDS)
