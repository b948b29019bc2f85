"""Tokens of the providers' APIs: however many lookups start at once, one is asked for."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

import httpx
import pytest

from connectors.lookup.desk import Desk
from connectors.outward import Shared
from connectors.peach import Peach, PeachConfig
from connectors.provider import ApiRequest, Provider
from connectors.truelayer import TrueLayer, TrueLayerConfig
from tests.connectors.outside import Shelf
from tests.connectors.test_lookup import QUICK, Office, request
from tests.waiting import until

AT_ONCE = 8
TOKEN = ApiRequest("POST", "http://auth.test/token", shared=True)


def peach() -> Provider:
    told = {"client_id": "me", "client_secret": "s3cret", "merchant_id": "m"}
    return Peach(PeachConfig.model_validate(told))


def truelayer() -> Provider:
    return TrueLayer(TrueLayerConfig.model_validate({"client_id": "me", "client_secret": "s3cret"}))


class Api:
    """Takes only its newest token, and answers nothing before as many as `together` ask."""

    def __init__(self) -> None:
        self.tokens = 0
        self.together = 0
        self.waiting = 0
        self.failing: list[int] = []
        self._enough = asyncio.Event()

    def hold(self, together: int) -> None:
        """The next so many calls are answered together."""
        self.together, self.waiting, self._enough = together, 0, asyncio.Event()

    async def answer(self, asked: httpx.Request) -> httpx.Response:
        if asked.method == "POST":
            return await self._token()
        known = asked.headers["authorization"] == f"Bearer token-{self.tokens}"
        await self._turn()
        return httpx.Response(200 if known else 401, json={"items": []})

    async def _token(self) -> httpx.Response:
        if self.failing:
            return httpx.Response(self.failing.pop())
        self.tokens += 1
        told = {"access_token": f"token-{self.tokens}", "expires_in": 3600}
        # Whoever is about to ask for one does so meanwhile.
        for _ in range(200):
            await asyncio.sleep(0)
        return httpx.Response(200, json=told)

    async def _turn(self) -> None:
        self.waiting += 1
        if self.waiting >= self.together:
            self._enough.set()
        await self._enough.wait()


@asynccontextmanager
async def asking(provider: Provider, api: Api) -> AsyncIterator[Office]:
    shelf = Shelf()
    async with httpx.AsyncClient(transport=httpx.MockTransport(api.answer)) as client:
        desk = Desk(provider, client, shelf, QUICK)
        running = asyncio.create_task(desk.run())
        yield Office(desk, shelf)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def ask(office: Office, provider: Provider, links: Iterable[str]) -> None:
    for link in links:
        about = request(link, reason="POLL", provider=provider.name)
        await office.take(about, f"{provider.name}:{link}".encode())
    await office.finished()


MADE = pytest.mark.parametrize("make", [peach, truelayer])


@MADE
async def test_lookups_that_start_at_once_ask_for_one_token(make: Callable[[], Provider]) -> None:
    provider, api = make(), Api()
    async with asking(provider, api) as office:
        await ask(office, provider, map(str, range(3 * AT_ONCE)))
        assert len(office.shelf.of(f"callbacks.{provider.name}")) == 3 * AT_ONCE
    assert api.tokens == 1


@MADE
async def test_a_token_withdrawn_under_all_of_them_is_renewed_once(
    make: Callable[[], Provider],
) -> None:
    provider, api = make(), Api()
    async with asking(provider, api) as office:
        await ask(office, provider, ["first"])
        api.tokens += 1  # what was given is withdrawn
        api.hold(AT_ONCE)
        await ask(office, provider, map(str, range(AT_ONCE)))
        assert len(office.shelf.of(f"callbacks.{provider.name}")) == AT_ONCE + 1
    assert api.tokens == 3


async def test_a_token_that_could_not_be_had_is_asked_for_again() -> None:
    provider, api = peach(), Api()
    api.failing = [503, 429]
    async with asking(provider, api) as office:
        await ask(office, provider, map(str, range(AT_ONCE)))
        assert len(office.shelf.of("callbacks.peach")) == AT_ONCE
    assert (api.tokens, api.failing) == (1, [])


async def test_who_waits_for_an_answer_gets_its_own_when_the_one_who_asked_has_gone() -> None:
    asked: list[httpx.Request] = []
    gate = asyncio.Event()

    async def answer(one: httpx.Request) -> httpx.Response:
        asked.append(one)
        await gate.wait()
        return httpx.Response(200, content=json.dumps(len(asked)))

    shared = Shared()
    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        tasks = [asyncio.create_task(shared.fetch(client, TOKEN)) for _ in range(4)]
        await until(lambda: len(asked) == 1, "the first to ask")
        tasks[0].cancel()
        await until(lambda: len(asked) == 2, "the second to ask")
        gate.set()
        gone, *others = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(gone, asyncio.CancelledError)
    assert [other.body for other in others] == [b"2"] * 3  # type: ignore[union-attr]


async def test_all_who_wait_are_told_that_nobody_was_reached() -> None:
    asked: list[httpx.Request] = []
    gate = asyncio.Event()

    async def answer(one: httpx.Request) -> httpx.Response:
        asked.append(one)
        await gate.wait()
        raise httpx.ConnectError("away")

    shared = Shared()
    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        tasks = [asyncio.create_task(shared.fetch(client, TOKEN)) for _ in range(3)]
        await until(lambda: len(asked) == 1, "the first to ask")
        gate.set()
        told = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(one, httpx.ConnectError) for one in told)
        # Nothing of it stays: who asks now asks anew.
        with pytest.raises(httpx.ConnectError):
            await shared.fetch(client, TOKEN)
    assert len(asked) == 2
