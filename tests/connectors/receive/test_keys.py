"""Key sets: fetched once, again for a key not known, and never so often that it hurts."""

import asyncio

import httpx
import pytest

from connectors.receive import jwks
from connectors.receive.jwks import KeySets, NoKeys
from tests.support.waiting import PATIENCE, until

URL = "https://acme.invalid/keys"


class Provider:
    """Serves its keys, or fails."""

    def __init__(self) -> None:
        self.fetches = 0
        self.status = 200
        self.page = ""
        self.now = 1000.0
        self.answers = asyncio.Event()
        self.answers.set()

    async def serve(self, request: httpx.Request) -> httpx.Response:
        self.fetches += 1
        await self.answers.wait()
        if self.status == 0:
            raise httpx.ConnectError("away")
        return httpx.Response(self.status, text=self.page or f'{{"keys": [{self.fetches}]}}')


@pytest.fixture
async def provider() -> Provider:
    return Provider()


@pytest.fixture
async def keys(provider: Provider) -> KeySets:
    transport = httpx.MockTransport(provider.serve)
    return KeySets(httpx.AsyncClient(transport=transport), lambda: provider.now)


@pytest.fixture
async def fetched(keys: KeySets) -> KeySets:
    """Key sets that have the first answer."""
    assert await keys.known(URL) == a_set(1)
    return keys


def a_set(number: int) -> bytes:
    return b'{"keys": [%d]}' % number


async def test_parallel_callbacks_fetch_the_keys_once(provider: Provider, keys: KeySets) -> None:
    assert set(await asyncio.gather(*(keys.known(URL) for _ in range(20)))) == {a_set(1)}
    assert provider.fetches == 1


async def test_unknown_key_is_fetched_once_in_ten_seconds(
    provider: Provider, fetched: KeySets
) -> None:
    provider.now += 10
    assert set(await asyncio.gather(*(fetched.fresh(URL) for _ in range(20)))) == {a_set(2)}
    provider.now += 9.9
    assert await fetched.fresh(URL) == a_set(2)
    provider.now += 0.2
    assert await fetched.fresh(URL) == a_set(3)


async def test_old_keys_are_refreshed_but_kept_while_the_provider_is_down(
    provider: Provider, fetched: KeySets
) -> None:
    provider.now += 1800
    provider.status = 0
    assert await fetched.known(URL) == a_set(1)
    provider.now += 1
    provider.status = 200
    assert await fetched.known(URL) == a_set(3)


@pytest.mark.parametrize("status", [0, 404, 500])
async def test_without_a_key_set_no_signature_can_be_checked(
    provider: Provider, keys: KeySets, status: int
) -> None:
    provider.status = status
    for _ in range(5):
        with pytest.raises(NoKeys):
            await keys.known(URL)
    assert provider.fetches == 1
    provider.now += 1
    provider.status = 200
    assert await keys.known(URL) == a_set(2)


async def test_new_key_while_the_provider_is_down_is_not_forged(
    provider: Provider, fetched: KeySets
) -> None:
    provider.now += 10
    provider.status = 0
    with pytest.raises(NoKeys):
        await fetched.fresh(URL)


async def test_known_keys_do_not_wait_for_a_forged_key_id(
    provider: Provider, fetched: KeySets
) -> None:
    provider.now += 10
    provider.answers.clear()
    forged = asyncio.create_task(fetched.fresh(URL))
    await until(lambda: provider.fetches == 2, "the fetch")
    async with asyncio.timeout(PATIENCE):
        assert await fetched.known(URL) == a_set(1)
    provider.answers.set()
    assert await forged == a_set(2)


@pytest.mark.parametrize("page", ["<html>maintenance</html>", "[]", "{}", '{"keys": null}', '{"ke'])
async def test_page_that_is_not_a_key_set_does_not_replace_good_keys(
    provider: Provider, fetched: KeySets, page: str
) -> None:
    provider.now += 1800
    provider.page = page
    assert await fetched.known(URL) == a_set(1)
    with pytest.raises(NoKeys):
        await fetched.fresh(URL)
    provider.now += 1
    provider.page = ""
    assert await fetched.known(URL) == a_set(3)


async def test_provider_that_does_not_answer_delays_no_callback_for_long(
    provider: Provider, keys: KeySets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jwks, "KEY_SET_SECONDS", 0.05)
    provider.answers.clear()
    with pytest.raises(NoKeys):
        await keys.known(URL)
    provider.answers.set()
    await until(lambda: provider.fetches == 1, "the fetch")
    assert await keys.known(URL) == a_set(1)
    provider.now += 1800
    provider.answers.clear()
    assert await keys.known(URL) == a_set(1)


async def test_callbacks_that_wait_for_keys_are_limited(
    provider: Provider, keys: KeySets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jwks, "KEY_SET_WAITERS", 3)
    provider.answers.clear()
    waiting = [asyncio.create_task(keys.known(URL)) for _ in range(3)]
    await until(lambda: provider.fetches == 1, "the fetch")
    with pytest.raises(NoKeys):
        await keys.known(URL)
    provider.answers.set()
    assert await asyncio.gather(*waiting) == [a_set(1)] * 3
