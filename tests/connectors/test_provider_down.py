"""A provider that is down, slow or asks for patience: nothing is lost, and it is left in peace.

The clock runs ahead, so that the limits are those of production.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import httpx
import pytest

from connectors.lookup.questions import Limits
from tests.connectors.clock import run_ahead
from tests.connectors.test_lookup import asking, finals, invoice, request

USUAL = Limits(per_second=20, unissued_per_minute=120, timeout=10)
HOUR = 3600.0
Answer = Callable[[float, int], httpx.Response | Exception | None]


@dataclass
class Api:
    """Answers by the time and by how often it was asked; None is COMPLETED."""

    answers: Answer
    asked: list[tuple[float, str]] = field(default_factory=list)

    async def answer(self, asked: httpx.Request) -> httpx.Response:
        link, now = asked.url.params["id"], asyncio.get_running_loop().time()
        self.asked.append((now, link))
        answer = self.answers(now, len(self.asked))
        if isinstance(answer, Exception):
            raise answer
        return answer or httpx.Response(200, content=invoice(link, "COMPLETED"))

    def times(self, link: str | None = None) -> list[float]:
        return [at for at, asked in self.asked if link in (None, asked)]


OUTAGES: dict[str, httpx.Response | Exception] = {
    "503": httpx.Response(503),
    "refused": httpx.ConnectError("away"),
    "silent": httpx.ReadTimeout("slow"),
    "login broken": httpx.Response(401),
}


@pytest.mark.parametrize("kind", OUTAGES)
def test_an_hour_without_the_provider_costs_no_claim_and_few_calls(kind: str) -> None:
    links = {f"i{number}" for number in range(400)}

    async def test() -> None:
        api = Api(lambda now, _: OUTAGES[kind] if now < HOUR else None)
        async with asking(api, USUAL) as office:
            for link in sorted(links):
                await office.take(request(link, "PAID"))
            await asyncio.sleep(HOUR - 1)
            assert office.shelf.records == []
            assert office.progress.next_offset == 0
            # One call a minute at most, once the breaker's pauses have grown.
            assert 60 <= len(api.asked) <= 150
            await asyncio.sleep(420)
            assert office.progress.waiting == 0
            answers = office.shelf.of("callbacks.ipint")
            assert all(finals(answers))
            assert sorted(a.headers["lookup-link"].decode() for a in answers) == sorted(links)

    run_ahead(test())


def test_retry_after_is_honoured_for_every_link_of_the_provider() -> None:
    patience = httpx.Response(429, headers={"retry-after": "120"})

    async def test() -> None:
        api = Api(lambda now, count: patience if count == 1 else None)
        async with asking(api, USUAL) as office:
            await office.take(request("first", "PAID"))
            await asyncio.sleep(1)
            for number in range(20):
                await office.take(request(f"i{number}", "PAID"))
            await asyncio.sleep(300)
            assert office.progress.waiting == 0
        assert min(api.times()[1:]) >= 120

    run_ahead(test())


def test_the_pauses_between_tries_grow_and_differ() -> None:
    async def test() -> None:
        api = Api(lambda now, _: httpx.Response(500))
        async with asking(api, USUAL) as office:
            await office.take(request("i1", "PAID"))
            await asyncio.sleep(HOUR)
        gaps = [after - before for before, after in pairwise(api.times("i1"))]
        assert gaps[0] <= 1
        assert gaps[4] >= 8
        assert all(150 <= gap <= 420 for gap in gaps[9:])
        assert len(set(gaps)) == len(gaps)

    run_ahead(test())


def test_no_more_is_asked_than_the_limit_allows() -> None:
    async def test() -> None:
        api = Api(lambda now, _: None)
        async with asking(api, USUAL) as office:
            for number in range(600):
                await office.take(request(f"ours-{number}", "PAID"))
                await office.take(request(f"theirs-{number}", "PAID", issued=False))
            await asyncio.sleep(60)
            assert sum(link.startswith("theirs") for _, link in api.asked) <= 241
            assert sum(link.startswith("ours") for _, link in api.asked) == 600
            # One second's burst, then twenty a second.
            assert max(api.times("ours-599")) >= (600 - 20) / 20 - 1

    run_ahead(test())


@pytest.mark.parametrize("status", [500, 403])
def test_ids_the_provider_fails_on_hold_up_none_of_ours(status: int) -> None:
    """Anybody may invent such ids: that they fail says nothing of the provider."""

    class Choking(Api):
        async def answer(self, asked: httpx.Request) -> httpx.Response:
            answer = await super().answer(asked)
            return httpx.Response(status) if "theirs" in asked.url.params["id"] else answer

    async def test() -> None:
        api = Choking(lambda now, _: None)
        async with asking(api, USUAL) as office:
            for number in range(50):
                await office.take(request(f"theirs-{number}", "PAID", issued=False))
            await asyncio.sleep(HOUR)
            for number in range(10):
                await office.take(request(f"ours-{number}", "PAID"))
            await asyncio.sleep(2)
            assert len(office.shelf.of("callbacks.ipint")) == 10
            # They themselves are asked about ever more seldom, as one of a provider that is down.
            assert sum("theirs" in link for _, link in api.asked) <= 150

    run_ahead(test())


def test_an_id_never_issued_is_not_asked_about_without_end() -> None:
    async def test() -> None:
        api = Api(lambda now, _: httpx.Response(500))
        async with asking(api, USUAL) as office:
            await office.take(request("theirs", "PAID", issued=False))
            await office.take(request("ours", "PAID"))
            await asyncio.sleep(23 * HOUR)
            assert office.progress.waiting == 2
            await asyncio.sleep(2 * HOUR)
            tried = len(api.times("theirs"))
            await asyncio.sleep(48 * HOUR)
            assert len(api.times("theirs")) == tried
            # Our own wait for as long as it takes.
            assert office.progress.waiting == 1
            assert api.times("ours")[-1] > 72 * HOUR
            assert office.shelf.records == []

    run_ahead(test())


@pytest.mark.parametrize("issued", [True, False])
def test_patience_asked_for_one_link_is_had_with_those_of_the_other_kind(issued: bool) -> None:
    patience = httpx.Response(429, headers={"retry-after": "120"})

    async def test() -> None:
        api = Api(lambda now, count: patience if count == 1 else None)
        async with asking(api, USUAL) as office:
            await office.take(request("first", "PAID", issued=issued))
            await asyncio.sleep(1)
            await office.take(request("second", "PAID", issued=not issued))
            await asyncio.sleep(300)
            assert office.progress.waiting == 0
        assert min(api.times()[1:]) >= 120

    run_ahead(test())


class Hanging(Api):
    """Never answers the first request."""

    async def answer(self, asked: httpx.Request) -> httpx.Response:
        if not self.asked:
            self.asked.append((0.0, "hanging"))
            await asyncio.Event().wait()
        return await super().answer(asked)


def test_an_answer_that_never_comes_holds_up_nothing() -> None:
    async def test() -> None:
        async with asking(Hanging(lambda now, _: None), USUAL) as office:
            await office.take(request("hanging", "PAID"))
            await office.take(request("i1", "PAID"))
            await asyncio.sleep(60)
            assert office.progress.waiting == 0

    run_ahead(test())
