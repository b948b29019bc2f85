"""Services at work for the length of a block, and what they do with tasks."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Protocol

import httpx

from connectors.kafka.offset_tracker import OffsetTracker
from connectors.kafka.task import Task
from schemas.headers import Headers
from tests.support.fakes import FakePublisher, task
from tests.support.waiting import until


@asynccontextmanager
async def running(*services: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Run the services until the block ends, then cancel them."""
    tasks = [asyncio.ensure_future(service()) for service in services]
    try:
        yield
    finally:
        for one in tasks:
            one.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Answers(Protocol):
    """A provider's API."""

    async def answer(self, request: httpx.Request, /) -> httpx.Response: ...


def client_of(api: Answers) -> httpx.AsyncClient:
    """Return a client whose requests `api` answers."""
    return httpx.AsyncClient(transport=httpx.MockTransport(api.answer))


class Working:
    """A process that works on tasks, the records it published, and the offsets of its tasks."""

    def __init__(self, handle: Callable[[Task], Awaitable[None]], publisher: FakePublisher) -> None:
        self._handle = handle
        self.publisher = publisher
        self.tracker = OffsetTracker()
        self._offset = 0

    async def work_on(
        self,
        topic: str,
        key: bytes | None,
        value: bytes,
        headers: Headers | None = None,
        at_ms: int = 0,
    ) -> None:
        """Begin the work on the next record; `at_ms` is its timestamp."""
        next_task = task(topic, key, value, self.tracker, self._offset, headers or (), at_ms)
        await self._handle(next_task)
        self._offset += 1

    async def end(self) -> None:
        """Return once all records are finished."""
        await until(lambda: self.tracker.pending == 0, "the records to be finished")
