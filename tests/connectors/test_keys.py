"""Key sets: fetched once, again for a key not known, and never so often that it hurts."""

import asyncio
from collections.abc import Callable

import httpx
import pytest

from connectors.edge.keys import KeySets, NoKeys
from tests.waiting import PATIENCE, until

URL = "https://acme.invalid/keys"


class Provider:
    """Serves its keys, or fails."""

    def __init__(self) -> None:
        self.asked = 0
        self.status = 200
        self.page = ""
        self.now = 1000.0
        self.answers = asyncio.Event()
        self.answers.set()

    async def serve(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        await self.answers.wait()
        if self.status == 0:
            raise httpx.ConnectError("away")
        return httpx.Response(self.status, text=self.page or f'{{"keys": [{self.asked}]}}')

    def key_sets(self) -> KeySets:
        clock: Callable[[], float] = lambda: self.now  # noqa: E731
        return KeySets(httpx.AsyncClient(transport=httpx.MockTransport(self.serve)), clock)


def a_set(number: int) -> bytes:
    return b'{"keys": [%d]}' % number


async def test_keys_are_fetched_once_for_all_who_ask() -> None:
    provider = Provider()
    keys = provider.key_sets()
    assert set(await asyncio.gather(*(keys.known(URL) for _ in range(20)))) == {a_set(1)}
    assert provider.asked == 1


async def test_a_key_not_known_is_looked_for_once_in_ten_seconds() -> None:
    provider = Provider()
    keys = provider.key_sets()
    await keys.known(URL)
    provider.now += 10
    assert set(await asyncio.gather(*(keys.fresh(URL) for _ in range(20)))) == {a_set(2)}
    provider.now += 9.9
    assert await keys.fresh(URL) == a_set(2)
    provider.now += 0.2
    assert await keys.fresh(URL) == a_set(3)


async def test_old_keys_are_fetched_again_but_kept_while_the_provider_is_away() -> None:
    provider = Provider()
    keys = provider.key_sets()
    await keys.known(URL)
    provider.now += 1800
    provider.status = 0
    assert await keys.known(URL) == a_set(1)
    provider.now += 1
    provider.status = 200
    assert await keys.known(URL) == a_set(3)


@pytest.mark.parametrize("status", [0, 404, 500])
async def test_without_an_answer_nothing_can_be_judged(status: int) -> None:
    provider = Provider()
    provider.status = status
    keys = provider.key_sets()
    for _ in range(5):
        with pytest.raises(NoKeys):
            await keys.known(URL)
    assert provider.asked == 1
    provider.now += 1
    provider.status = 200
    assert await keys.known(URL) == a_set(2)


async def test_a_new_key_while_the_provider_is_away_is_not_called_forged() -> None:
    provider = Provider()
    keys = provider.key_sets()
    await keys.known(URL)
    provider.now += 10
    provider.status = 0
    with pytest.raises(NoKeys):
        await keys.fresh(URL)


async def test_keys_that_are_here_wait_for_no_forged_key_id() -> None:
    provider = Provider()
    keys = provider.key_sets()
    await keys.known(URL)
    provider.now += 10
    provider.answers.clear()
    forged = asyncio.create_task(keys.fresh(URL))
    await until(lambda: provider.asked == 2, "the fetch")
    async with asyncio.timeout(PATIENCE):
        assert await keys.known(URL) == a_set(1)
    provider.answers.set()
    assert await forged == a_set(2)


@pytest.mark.parametrize("page", ["<html>maintenance</html>", "[]", "{}", '{"keys": null}', '{"ke'])
async def test_a_page_that_is_no_key_set_does_not_end_good_keys(page: str) -> None:
    provider = Provider()
    keys = provider.key_sets()
    await keys.known(URL)
    provider.now += 1800
    provider.page = page
    assert await keys.known(URL) == a_set(1)
    with pytest.raises(NoKeys):
        await keys.fresh(URL)
    provider.now += 1
    provider.page = ""
    assert await keys.known(URL) == a_set(3)
