"""Deletes old events from the store, so that it does not grow without end."""

import asyncio
import logging

from connectors.board.database.store import Store, StoreUnavailable
from connectors.board.database.threads import run_to_end
from connectors.clock import micros_now
from schemas.times import DAY

log = logging.getLogger(__name__)

_INTERVAL_SECONDS = 3600.0
# The materializer writes between two parts.
_PAUSE_SECONDS = 0.1


async def forget_old_events(store: Store, days: int | None) -> None:
    """Delete what is older than so many days, every hour, for ever. None keeps everything."""
    while days is not None:
        try:
            while await run_to_end(store.forget_events, micros_now() - days * DAY):
                await asyncio.sleep(_PAUSE_SECONDS)
        except StoreUnavailable as error:
            log.warning("board: old events stay for now: %s", error)
        await asyncio.sleep(_INTERVAL_SECONDS)
    await asyncio.Event().wait()
