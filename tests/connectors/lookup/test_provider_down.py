"""A provider that is down, slow or asks us to wait: no request is lost, and calls are few.

The clock runs ahead, so that the limits are those of production.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import httpx
import pytest

from connectors.lookup.jobs import LookupLimits
from tests.connectors.lookup.harness import asking, finals, invoice, request
from tests.support.clock import run_ahead

USUAL = LookupLimits(per_second=20, unissued_per_minute=120, timeout=10)
HOUR = 3600.0
Answer = Callable[[float, int], httpx.Response | Exception | None]


@dataclass
class Api:
    """Answers by the time and the number of the call; None is COMPLETED."""

    answers: Answer
    requested: list[tuple[float, str]] = field(default_factory=list)

    async def answer(self, request: httpx.Request) -> httpx.Response:
        link, now = request.url.params["id"], asyncio.get_running_loop().time()
        self.requested.append((now, link))
        answer = self.answers(now, len(self.requested))
        if isinstance(answer, Exception):
            raise answer
        return answer or httpx.Response(200, content=invoice(link, "COMPLETED"))

    def times(self, link: str | None = None) -> list[float]:
        return [at for at, other in self.requested if link in (None, other)]


OUTAGES: dict[str, httpx.Response | Exception] = {
    "503": httpx.Response(503),
    "refused": httpx.ConnectError("away"),
    "silent": httpx.ReadTimeout("slow"),
    "login broken": httpx.Response(401),
}


@pytest.mark.parametrize("kind", OUTAGES)
def test_outage_of_an_hour_loses_no_claim_and_costs_few_calls(kind: str) -> None:
    links = {f"i{number}" for number in range(400)}

    async def test() -> None:
        api = Api(lambda now, _: OUTAGES[kind] if now < HOUR else None)
        async with asking(api, USUAL) as working:
            for link in sorted(links):
                await working.take(request(link, "PAID"))
            await asyncio.sleep(HOUR - 1)
            assert working.publisher.records == []
            assert working.tracker.next_offset == 0
            # One call a minute at most, once the breaker's pauses have grown.
            assert 60 <= len(api.requested) <= 150
            await asyncio.sleep(420)
            assert working.tracker.pending == 0
            answers = working.publisher.of("callbacks.ipint")
            assert all(finals(answers))
            assert sorted(a.headers["lookup-link"].decode() for a in answers) == sorted(links)

    run_ahead(test())


@pytest.mark.parametrize(("first", "others"), [(True, True), (True, False), (False, True)], ids=str)
def test_retry_after_pauses_every_link_of_the_provider(first: bool, others: bool) -> None:
    """`first` and `others`: whether we issued the links."""
    wait = httpx.Response(429, headers={"retry-after": "120"})

    async def test() -> None:
        api = Api(lambda now, count: wait if count == 1 else None)
        async with asking(api, USUAL) as working:
            await working.take(request("first", "PAID", issued=first))
            await asyncio.sleep(1)
            for number in range(20):
                await working.take(request(f"i{number}", "PAID", issued=others))
            await asyncio.sleep(300)
            assert working.tracker.pending == 0
        assert min(api.times()[1:]) >= 120

    run_ahead(test())


def test_retry_pauses_grow_and_differ() -> None:
    async def test() -> None:
        api = Api(lambda now, _: httpx.Response(500))
        async with asking(api, USUAL) as working:
            await working.take(request("i1", "PAID"))
            await asyncio.sleep(HOUR)
        gaps = [after - before for before, after in pairwise(api.times("i1"))]
        assert gaps[0] <= 1
        assert gaps[4] >= 8
        assert all(150 <= gap <= 420 for gap in gaps[9:])
        assert len(set(gaps)) == len(gaps)

    run_ahead(test())


def test_calls_stay_within_the_rate_limits() -> None:
    async def test() -> None:
        api = Api(lambda now, _: None)
        async with asking(api, USUAL) as working:
            for number in range(600):
                await working.take(request(f"ours-{number}", "PAID"))
                await working.take(request(f"theirs-{number}", "PAID", issued=False))
            await asyncio.sleep(60)
            assert sum(link.startswith("theirs") for _, link in api.requested) <= 241
            assert sum(link.startswith("ours") for _, link in api.requested) == 600
            # One second's burst, then twenty a second.
            assert max(api.times("ours-599")) >= (600 - 20) / 20 - 1

    run_ahead(test())


@pytest.mark.parametrize("status", [500, 403])
def test_ids_that_the_provider_fails_on_delay_none_of_ours(status: int) -> None:
    """Anybody may invent such ids: their failures do not mean that the provider is down."""

    class Choking(Api):
        async def answer(self, request: httpx.Request) -> httpx.Response:
            answer = await super().answer(request)
            return httpx.Response(status) if "theirs" in request.url.params["id"] else answer

    async def test() -> None:
        api = Choking(lambda now, _: None)
        async with asking(api, USUAL) as working:
            for number in range(50):
                await working.take(request(f"theirs-{number}", "PAID", issued=False))
            await asyncio.sleep(HOUR)
            for number in range(10):
                await working.take(request(f"ours-{number}", "PAID"))
            await asyncio.sleep(2)
            assert len(working.publisher.of("callbacks.ipint")) == 10
            # Their own calls become rare, as those to a provider that is down.
            assert sum("theirs" in link for _, link in api.requested) <= 150

    run_ahead(test())


def test_lookup_of_an_unissued_id_is_given_up_after_a_day() -> None:
    async def test() -> None:
        api = Api(lambda now, _: httpx.Response(500))
        async with asking(api, USUAL) as working:
            await working.take(request("theirs", "PAID", issued=False))
            await working.take(request("ours", "PAID"))
            await asyncio.sleep(23 * HOUR)
            assert working.tracker.pending == 2
            await asyncio.sleep(2 * HOUR)
            tried = len(api.times("theirs"))
            await asyncio.sleep(48 * HOUR)
            assert len(api.times("theirs")) == tried
            # Our own links are retried without end.
            assert working.tracker.pending == 1
            assert api.times("ours")[-1] > 72 * HOUR
            assert working.publisher.records == []

    run_ahead(test())


class Hanging(Api):
    """Never answers the first request."""

    async def answer(self, request: httpx.Request) -> httpx.Response:
        if not self.requested:
            self.requested.append((0.0, "hanging"))
            await asyncio.Event().wait()
        return await super().answer(request)


def test_answer_that_never_comes_delays_no_other() -> None:
    async def test() -> None:
        async with asking(Hanging(lambda now, _: None), USUAL) as working:
            await working.take(request("hanging", "PAID"))
            await working.take(request("i1", "PAID"))
            await asyncio.sleep(60)
            assert working.tracker.pending == 0

    run_ahead(test())
