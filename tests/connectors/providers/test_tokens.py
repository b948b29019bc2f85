"""Tokens of the providers' APIs: concurrent lookups share one request for a token."""

import asyncio
import json
from collections.abc import Callable, Iterable

import httpx
import pytest

from connectors.http.client import RequestCoalescer
from connectors.providers.base import ApiRequest, Provider
from tests.connectors.lookup.harness import Asking, asking, request
from tests.connectors.providers.exchanges import peach, truelayer
from tests.support.running import client_of
from tests.support.waiting import until

CONCURRENCY = 8
TOKEN = ApiRequest("POST", "http://auth.test/token", shared=True)


class Api:
    """Accepts only its newest token, and responds only to so many calls together."""

    def __init__(self) -> None:
        self.tokens = 0
        self.together = asyncio.Barrier(1)

    async def answer(self, http_request: httpx.Request) -> httpx.Response:
        if http_request.method == "POST":
            return await self._token()
        is_valid = http_request.headers["authorization"] == f"Bearer token-{self.tokens}"
        await self.together.wait()
        return httpx.Response(200 if is_valid else 401, json={"items": []})

    async def _token(self) -> httpx.Response:
        self.tokens += 1
        token = {"access_token": f"token-{self.tokens}", "expires_in": 3600}
        # Other lookups get the time to request a token too.
        for _ in range(200):
            await asyncio.sleep(0)
        return httpx.Response(200, json=token)


async def look_up(working: Asking, provider: Provider, links: Iterable[str]) -> int:
    """Look the links up. Return the number of answers so far."""
    for link in links:
        lookup = request(link, reason="POLL", provider=provider.name)
        await working.take(lookup, f"{provider.name}:{link}".encode())
    await working.finished()
    return len(working.publisher.of(f"callbacks.{provider.name}"))


with_tokens = pytest.mark.parametrize("make", [peach, truelayer])


@with_tokens
async def test_concurrent_lookups_request_one_token(make: Callable[[], Provider]) -> None:
    provider, api = make(), Api()
    async with asking(api, provider=provider) as lookups:
        links = map(str, range(3 * CONCURRENCY))
        assert await look_up(lookups, provider, links) == 3 * CONCURRENCY
    assert api.tokens == 1


@with_tokens
async def test_concurrent_lookups_renew_a_revoked_token_once(make: Callable[[], Provider]) -> None:
    provider, api = make(), Api()
    async with asking(api, provider=provider) as lookups:
        await look_up(lookups, provider, ["first"])
        api.tokens += 1  # This revokes the first token.
        api.together = asyncio.Barrier(CONCURRENCY)
        links = map(str, range(CONCURRENCY))
        assert await look_up(lookups, provider, links) == CONCURRENCY + 1
    assert api.tokens == 3


class SharedRequest:
    """Fetches the token request several times at once through one RequestCoalescer."""

    def __init__(self, error: Exception | None = None) -> None:
        self.sent = 0
        self.gate = asyncio.Event()
        self.coalescer = RequestCoalescer()
        self._error = error

    async def answer(self, http_request: httpx.Request) -> httpx.Response:
        self.sent += 1
        await self.gate.wait()
        if self._error:
            raise self._error
        return httpx.Response(200, content=json.dumps(self.sent))


async def test_waiting_calls_get_a_response_if_the_first_call_is_cancelled() -> None:
    shared = SharedRequest()
    async with client_of(shared) as client:
        tasks = [asyncio.create_task(shared.coalescer.fetch(client, TOKEN)) for _ in range(4)]
        await until(lambda: shared.sent == 1, "the first request")
        tasks[0].cancel()
        await until(lambda: shared.sent == 2, "the second request")
        shared.gate.set()
        cancelled, *others = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(cancelled, asyncio.CancelledError)
    assert [other.body for other in others] == [b"2"] * 3  # type: ignore[union-attr]


async def test_all_waiting_calls_get_the_connection_error() -> None:
    shared = SharedRequest(httpx.ConnectError("away"))
    async with client_of(shared) as client:
        tasks = [asyncio.create_task(shared.coalescer.fetch(client, TOKEN)) for _ in range(3)]
        await until(lambda: shared.sent == 1, "the first request")
        shared.gate.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(result, httpx.ConnectError) for result in results)
        # The next call sends a new request.
        with pytest.raises(httpx.ConnectError):
            await shared.coalescer.fetch(client, TOKEN)
    assert shared.sent == 2
