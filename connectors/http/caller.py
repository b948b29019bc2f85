"""Calls of a command to a provider's API: one after the other, within its limits, and repeated if
the provider does not answer.
"""

import asyncio
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TypeVar

import httpx
from aiolimiter import AsyncLimiter

from connectors.backoff import backoff
from connectors.http.client import UNREACHED, fetch, retry_after
from connectors.providers.base import ApiRequest, ApiResponse, RetryableApiError
from connectors.reasons import reason_of
from schemas.limits import LIST_ANSWER_BYTES

ATTEMPTS = 5
PAUSES = (1.0, 30.0)

Outcome = TypeVar("Outcome")
Exchange = Generator[ApiRequest, ApiResponse, Outcome]


class ProviderAway(Exception):
    """The provider did not answer; the message has the last failure."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Performs exchanges. `limiter` counts requests, `pauses` are the first and the longest wait
    for the next attempt, in seconds.
    """

    client: httpx.AsyncClient
    limiter: AsyncLimiter
    pauses: tuple[float, float] = PAUSES

    async def perform(
        self, begin: Callable[[], Exchange[Outcome]], most_bytes: int = LIST_ANSWER_BYTES
    ) -> Outcome:
        """Return the result of an exchange, with answers of at most so many bytes. One that fails
        begins again, after the time that the provider asks for. Raises ProviderAway, and what the
        exchange raises.
        """
        attempts = 0
        while True:
            attempts += 1
            try:
                return await self._exchange(begin(), most_bytes)
            except RetryableApiError as error:
                failure, pause = str(error), retry_after(error.response)
            except UNREACHED as error:
                failure, pause = reason_of(error), None
            if attempts == ATTEMPTS:
                raise ProviderAway(failure)
            await asyncio.sleep(backoff(attempts, *self.pauses) if pause is None else pause)

    async def _exchange(self, requests: Exchange[Outcome], most_bytes: int) -> Outcome:
        """Perform the requests, one after the other, and return the generator's result."""
        try:
            request = next(requests)
            while True:
                async with self.limiter:
                    response = await fetch(self.client, request, most_bytes)
                request = requests.send(response)
        except StopIteration as end:
            outcome: Outcome = end.value
            return outcome
