"""The process `settle` is killed at any moment: the simulated Payments API sees each order closed,
split and settled once, and the last report is the true one.
"""

import asyncio
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.providers.base import ApiRequest, ApiResponse
from connectors.providers.ping import Ping, PingConfig
from connectors.providers.simulator import NewLink
from connectors.settle.jobs import SettleLimits
from schemas.codec import ORDER_UPDATE
from schemas.headers import Headers
from tests.connectors.sandbox.sandboxes import NOW, Simulated
from tests.connectors.settle.harness import QUICK, close, settlement, settling
from tests.support.codecs import CODECS
from tests.support.fakes import FakePublisher
from tests.support.waiting import until


@dataclass
class Moments:
    """Counts the moments at which the process can be killed, and kills it at the one in `at`."""

    at: int | None
    passed: int = 0
    dead: asyncio.Event = field(default_factory=asyncio.Event)

    async def pass_one(self) -> None:
        self.passed += 1
        if self.passed == self.at:
            self.dead.set()
        if self.dead.is_set():
            await asyncio.Event().wait()  # for ever: the process is dead


@dataclass
class MortalPublisher(FakePublisher):
    """A publisher whose process can be killed before and after Kafka has the record."""

    moments: Moments = field(default_factory=lambda: Moments(None))

    async def publish(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Headers
    ) -> None:
        await self.moments.pass_one()
        await super().publish(topic, key, value, headers)
        await self.moments.pass_one()


class Work(NamedTuple):
    """A record on a topic, and what must come of it: steps at Ping, and reports."""

    topic: str
    value: bytes
    limits: SettleLimits
    done: list[str]
    reports: list[str]


WORK = {
    "close": Work("order-close", close("o1"), QUICK, ["close"], ["CLOSED"]),
    "settle": Work(
        *("settlement", settlement("o1"), QUICK), ["close", "split", "settle"], ["SPLIT", "SETTLED"]
    ),
    "settle with fast forward": Work(
        *("settlement", settlement("o1"), replace(QUICK, fast_forward=True)),
        *(["close", "settle"], ["SPLIT", "SETTLED"]),
    ),
}


class World:
    """What survives a kill: Ping, the records on Kafka, and the committed offset."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.publisher = MortalPublisher()
        self.committed = self.kills = 0
        self.ping = Simulated("ping")
        secrets = self.ping.site.secrets
        credentials = {name: secrets[name] for name in ("tenant_id", "api_secret")}
        url = "http://sandbox.test/payments"
        self.api = Ping(PingConfig.model_validate({"payments_url": url, **credentials}))
        self.ping.sandbox.create(NewLink("l1", 500, "SEK", "o1"), NOW)
        self.ping.sandbox.advance("l1", "COMPLETED", NOW)
        if work.topic == "settlement":
            self.respond(self.api.order_request("o1", "CLOSE", False))

    def respond(self, request: ApiRequest) -> ApiResponse:
        return self.ping.sandbox.respond(replace(request, url=httpx.URL(request.url).path), NOW)

    async def answer(self, request: httpx.Request) -> httpx.Response:
        await self.publisher.moments.pass_one()
        response = self.respond(
            ApiRequest(request.method, str(request.url), dict(request.headers), request.content)
        )
        await self.publisher.moments.pass_one()
        return httpx.Response(response.status, content=response.body)

    async def live(self, kill_at: int | None) -> None:
        """Run the process until it is killed or everything is done."""
        moments = self.publisher.moments = Moments(kill_at)
        async with settling(self, self.work.limits, api=self.api, shelf=self.publisher) as working:
            if not self.committed:
                await working.take(self.work.topic, self.work.value)
            await until(lambda: moments.dead.is_set() or not working.tracker.pending, "the end")
            self.kills += moments.dead.is_set()
            # Killed or not: whatever could be committed by then may have been.
            self.committed = working.tracker.next_offset or self.committed


def check(work: Work, kills: list[int]) -> int:
    """Run one process after the other, each killed at its moment in `kills`, the last one not;
    return how many were killed.
    """
    world = World(work)

    async def lives() -> None:
        for moment in (*kills, None):
            await world.live(moment)

    asyncio.run(lives())
    log = world.ping.sandbox.state.all("log")
    assert [each["operation"] for each in log if not each["repeated"]] == work.done
    assert {each["answer"] for each in log} == {204}
    reports = [CODECS.decode(ORDER_UPDATE, r.value)["step"] for r in world.publisher.records]
    assert list(dict.fromkeys(reports)) == work.reports
    assert reports[-1] == work.reports[-1]
    assert world.committed == 1
    return world.kills


@given(work=st.sampled_from(sorted(WORK)), kills=st.lists(st.integers(1, 9), max_size=6))
def test_order_is_worked_on_once_in_spite_of_kills(work: str, kills: list[int]) -> None:
    check(WORK[work], kills)


@pytest.mark.parametrize("moment", range(1, 9))
def test_kill_at_any_moment_of_a_settlement_is_safe(moment: int) -> None:
    assert check(WORK["settle"], [moment]) == 1, "the moment must be one that happens"
