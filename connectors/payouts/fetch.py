"""Fetch what a provider paid out, day by day, within the provider's limits."""

import asyncio
from collections.abc import Callable, Sequence

import httpx
from aiolimiter import AsyncLimiter

from connectors.backoff import backoff
from connectors.clock import micros_now
from connectors.http.client import UNREACHED, fetch, http_client, retry_after
from connectors.http.retry_queue import rate_limit
from connectors.payouts.raw import DAY, Payload
from connectors.providers.base import RetryableApiError
from connectors.providers.payout_api import PayoutApi, Payouts
from connectors.reasons import reason_of
from schemas.limits import PAYOUT_ANSWER_BYTES

ATTEMPTS = 5
_PAUSES = (1.0, 30.0)


class ProviderAway(Exception):
    """The provider did not answer; the message has the last failure."""


async def fetch_days(
    name: str,
    provider: PayoutApi,
    days: Sequence[int],
    per_second: float,
    timeout: float,
    advance: Callable[[int], None] = lambda _: None,
    pauses: tuple[float, float] = _PAUSES,
) -> list[Payload]:
    """Return the payload of each day; `days` are their beginnings, in microseconds, UTC.

    A day whose requests fail is tried again, after the time that the provider asks for. Raises
    ProviderAway, PayoutsRefused.
    """
    limiter = rate_limit(min(per_second, provider.PAYOUT_CALLS_PER_SECOND or per_second))
    payloads = []
    async with http_client(timeout) as client:
        for start in days:
            body = await _fetch_day(client, name, provider, start, limiter, pauses)
            payloads.append(Payload(name, "api", start, start + DAY, body))
            advance(1)
    return payloads


async def _fetch_day(
    client: httpx.AsyncClient,
    name: str,
    provider: PayoutApi,
    start: int,
    limiter: AsyncLimiter,
    pauses: tuple[float, float],
) -> bytes:
    attempts = 0
    while True:
        attempts += 1
        try:
            requests = provider.payouts(start, start + DAY, micros_now())
            return await _exchange(client, requests, limiter)
        except RetryableApiError as error:
            failure, pause = str(error), retry_after(error.response)
        except UNREACHED as error:
            failure, pause = reason_of(error), None
        if attempts == ATTEMPTS:
            raise ProviderAway(f"{name} does not list its payouts: {failure}")
        await asyncio.sleep(backoff(attempts, *pauses) if pause is None else pause)


async def _exchange(client: httpx.AsyncClient, requests: Payouts, limiter: AsyncLimiter) -> bytes:
    """Perform the requests, one after the other, and return the generator's result."""
    try:
        request = next(requests)
        while True:
            async with limiter:
                response = await fetch(client, request, PAYOUT_ANSWER_BYTES)
            request = requests.send(response)
    except StopIteration as end:
        body: bytes = end.value
        return body
