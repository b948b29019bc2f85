"""Blocking functions of the database, called from the event loop."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

R = TypeVar("R")


async def run_to_end(function: Callable[..., R], *arguments: Any) -> R:
    """Run the function in a thread. A cancelled caller waits for its end: only then may it close
    what the function works on.
    """
    running = asyncio.ensure_future(asyncio.to_thread(function, *arguments))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.gather(running, return_exceptions=True)
        raise
