"""Waiting for a condition, never for a time."""

import asyncio
import time
from collections.abc import Callable

# Only a failure waits so long: a busy machine is slow, and that is no failure.
PATIENCE = 60.0


async def until(condition: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
    """Returns once `condition` holds; fails naming `what` when it does not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:.0f} s in vain for {what}")
        await asyncio.sleep(0.02)


async def until_told(condition: Callable[[], bool], what: str) -> None:
    """As `until`, for a condition that asks Kafka: in a thread, so that the loop goes on."""
    deadline = time.monotonic() + PATIENCE
    while not await asyncio.to_thread(condition):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {PATIENCE:.0f} s in vain for {what}")


def until_sync(condition: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
    """As `until`, for tests without an event loop."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:.0f} s in vain for {what}")
        time.sleep(0.02)
