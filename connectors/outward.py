"""Requests to the providers: one client, bounded in time and size, and how long to wait before the
next try.
"""

import asyncio
import random
from collections.abc import Generator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

import httpx

from connectors.provider import ApiRequest, ApiResponse

MAX_ANSWER = 512 << 10
_LONGEST_RETRY_AFTER = 3600.0

Outcome = TypeVar("Outcome")


class TooMuch(Exception):
    """The answer is larger than any answer of a provider's API has reason to be."""


# What `fetch` and `converse` raise where the provider was not reached, or its answer not understood
# as HTTP: asking again may help.
UNREACHED = (httpx.RequestError, TimeoutError, TooMuch)


def http_client(timeout: float = 10.0) -> httpx.AsyncClient:
    """A client for the providers' APIs; the simulated ones on this machine are never behind a
    proxy.
    """
    return httpx.AsyncClient(
        timeout=timeout,
        follow_redirects=False,
        mounts={"all://127.0.0.1": None, "all://localhost": None},
    )


async def fetch(client: httpx.AsyncClient, request: ApiRequest) -> ApiResponse:
    """Performs one request. Raises httpx.HTTPError, httpx.InvalidURL, TimeoutError, TooMuch."""
    bound = client.timeout.read
    # httpx bounds each read; a provider that drips its answer would hold us for ever.
    async with (
        asyncio.timeout(None if bound is None else 2 * bound),
        client.stream(
            request.method, request.url, headers=dict(request.headers), content=request.body or None
        ) as response,
    ):
        body = b""
        async for part in response.aiter_bytes():
            body += part
            if len(body) > MAX_ANSWER:
                raise TooMuch(f"{request.method} {response.url.path}: more than {MAX_ANSWER} bytes")
    headers = {name.lower(): value for name, value in response.headers.items()}
    return ApiResponse(response.status_code, body, headers)


class Shared:
    """Performs requests that one answer serves once for all who want the same meanwhile."""

    def __init__(self) -> None:
        self._under_way: dict[tuple[str, str, bytes], asyncio.Task[ApiResponse]] = {}

    async def fetch(self, client: httpx.AsyncClient, request: ApiRequest) -> ApiResponse:
        """As `fetch`, which it does unless it is being done already."""
        same = request.method, request.url, request.body
        while other := self._under_way.get(same):
            await asyncio.wait([other])
            # Who began it may have been told to end before it was answered.
            if not other.cancelled():
                return other.result()
        mine = asyncio.create_task(fetch(client, request))
        self._under_way[same] = mine
        # The first of its callbacks: who waits for it finds it gone.
        mine.add_done_callback(lambda _: self._under_way.pop(same))
        return await mine


async def converse(
    client: httpx.AsyncClient,
    requests: Generator[ApiRequest, ApiResponse, Outcome],
    shared: Shared,
) -> Outcome:
    """Performs one request after the other, each told the answer to the one before; returns what
    comes of it. Raises what `fetch` raises, and what the answers make `requests` raise.
    """
    try:
        step = next(requests)
        while True:
            perform = shared.fetch if step.shared else fetch
            step = requests.send(await perform(client, step))
    except StopIteration as end:
        outcome: Outcome = end.value
        return outcome


def backoff(attempts: int, first: float, longest: float) -> float:
    """Seconds to wait after that many failures: doubling, bounded, and spread so that many do not
    come at once.
    """
    ceiling = min(longest, first * 2.0 ** min(attempts - 1, 32))
    return random.uniform(ceiling / 2, ceiling)  # noqa: S311 - spreads load, guards nothing


def retry_after(response: ApiResponse, now: datetime | None = None) -> float | None:
    """Seconds the provider asks us to wait (RFC 9110 §10.2.3), at most an hour; None if it does not
    say.
    """
    text = next((v for k, v in response.headers.items() if k.lower() == "retry-after"), "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), _LONGEST_RETRY_AFTER)
    try:
        moment = parsedate_to_datetime(text).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    seconds = (moment - (now or datetime.now(UTC))).total_seconds()
    return min(max(0.0, seconds), _LONGEST_RETRY_AFTER)
