"""Settle may be killed at any moment: the simulated Payments API sees each order closed, split and
settled once, and the last report is the true one.
"""

import asyncio
from dataclasses import dataclass, field, replace

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.kafka import Cluster
from connectors.ping import PingConfig
from connectors.ping.orders import PingOrders
from connectors.progress import Progress
from connectors.provider import ApiRequest
from connectors.publish import Headers
from connectors.sandbox.simulator import NewLink
from connectors.settle import Office
from connectors.settle.desk import Desk, SettleLimits
from schemas.codec import ORDER_UPDATE
from tests.connectors.outside import Published, taken
from tests.connectors.sandboxes import NOW, Simulated
from tests.connectors.test_settle import QUICK, close, settlement
from tests.waiting import until


@dataclass
class Moments:
    """Counts the moments at which a process can be killed; `at` is when it is, by number."""

    at: set[int]
    passed: int = 0
    dead: asyncio.Event = field(default_factory=asyncio.Event)

    async def pass_one(self) -> None:
        self.passed += 1
        if self.passed in self.at:
            self.dead.set()
        if self.dead.is_set():
            await asyncio.Event().wait()  # for ever: the process no longer does anything


@dataclass
class World:
    """What survives a kill: Ping, and the records on Kafka with what is committed of them."""

    ping: Simulated
    inputs: list[tuple[str, bytes]]
    updates: list[Published] = field(default_factory=list)
    committed: int = 0
    kills: int = 0

    def operations(self) -> list[tuple[str, int, bool]]:
        log = self.ping.sandbox.state.all("log")
        return [(each["operation"], each["answer"], each["repeated"]) for each in log]

    def steps(self) -> list[str]:
        return [ORDER_UPDATE.decode(update.value)["step"] for update in self.updates]


@dataclass
class Pipe:
    """Kafka's end of a publish: killed before or after the record is kept."""

    world: World
    moments: Moments

    async def publish(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Headers
    ) -> None:
        await self.moments.pass_one()
        self.world.updates.append(Published(topic, key, value, dict(headers)))
        await self.moments.pass_one()


def api_of(ping: Simulated) -> PingOrders:
    secrets = ping.site.secrets
    url = "http://sandbox.test/payments"
    told = {name: secrets[name] for name in ("tenant_id", "api_secret")}
    return PingOrders(PingConfig.model_validate({"payments_url": url, **told}))


async def one_life(world: World, limits: SettleLimits, moments: Moments) -> None:
    """The process from its start to its end, by being killed or by having done everything."""

    async def answer(request: httpx.Request) -> httpx.Response:
        await moments.pass_one()
        call = ApiRequest(request.method, request.url.path, dict(request.headers), request.content)
        said = world.ping.sandbox.answer(call, NOW)
        await moments.pass_one()
        return httpx.Response(said.status, content=said.body)

    progress = Progress()
    pipe = Pipe(world, moments)
    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        desk = Desk("ping", api_of(world.ping), client, pipe, limits)
        office = Office(Cluster(""), {"ping": desk}, pipe, limits)
        working = asyncio.create_task(desk.run())
        for offset in range(world.committed, len(world.inputs)):
            topic, value = world.inputs[offset]
            await office.take(taken(topic, b"ping:o", value, progress, offset))
        await until(lambda: moments.dead.is_set() or not progress.waiting, "the end of the process")
        world.kills += moments.dead.is_set()
        # Killed or not: whatever could be committed by then may have been.
        world.committed = progress.next_offset or world.committed
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)


def world_with(order_id: str, inputs: list[tuple[str, bytes]], *, closed: bool = False) -> World:
    ping = Simulated("ping")
    ping.sandbox.create(NewLink("l1", 500, "SEK", order_id), NOW)
    ping.sandbox.move("l1", "COMPLETED", NOW)
    if closed:
        path = f"/payments/api/v1/payment_orders/{order_id}/close"
        ping.call("PUT", path, {}, _headers(ping))
    return World(ping, inputs)


def _headers(ping: Simulated) -> dict[str, str]:
    return {
        "tenant_id": ping.site.secrets["tenant_id"],
        "x-api-secret": ping.site.secrets["api_secret"],
    }


def live_until_done(world: World, limits: SettleLimits, kills: list[int]) -> None:
    """Lives one after the other; `kills` are the moments of each life at which it is killed."""

    async def lives() -> None:
        for moment in kills:
            await one_life(world, limits, Moments({moment}))
        await one_life(world, limits, Moments(set()))

    asyncio.run(lives())


FAST = replace(QUICK, fast_forward=True)


@given(kills=st.lists(st.integers(1, 9), max_size=6), fast_forward=st.booleans())
def test_a_settlement_is_performed_once_however_often_settle_is_killed(
    kills: list[int], fast_forward: bool
) -> None:
    world = world_with("o1", [("settlement", settlement("o1"))], closed=True)
    live_until_done(world, FAST if fast_forward else QUICK, kills)
    done = [op for op, code, repeated in world.operations() if code == 204 and not repeated]
    assert done == (["close", "settle"] if fast_forward else ["close", "split", "settle"])
    assert {code for _, code, _ in world.operations()} == {204}
    first_told = list(dict.fromkeys(world.steps()))
    assert first_told == ["SPLIT", "SETTLED"]
    assert world.steps()[-1] == "SETTLED"


@given(kills=st.lists(st.integers(1, 5), max_size=6))
def test_a_close_is_performed_once_however_often_settle_is_killed(kills: list[int]) -> None:
    world = world_with("o1", [("order-close", close("o1"))])
    live_until_done(world, QUICK, kills)
    done = [op for op, code, repeated in world.operations() if code == 204 and not repeated]
    assert done == ["close"]
    assert set(world.steps()) == {"CLOSED"}


@pytest.mark.parametrize("moment", range(1, 9))
def test_every_single_moment_of_a_settlement_is_safe(moment: int) -> None:
    world = world_with("o1", [("settlement", settlement("o1"))], closed=True)
    live_until_done(world, QUICK, [moment])
    assert world.kills == 1, "the moment must be one that happens"
    assert world.committed == 1
    assert world.operations()[-1][:2] == ("settle", 204)
    assert world.steps()[-1] == "SETTLED"


def test_a_close_waits_until_all_payments_of_the_order_have_ended() -> None:
    """Ping's 403 "not all payments terminated": asked again, then closed; never FAILED."""
    world = world_with("o1", [("order-close", close("o1"))])
    order = world.ping.sandbox.state.get("order", "o1") or {}
    pending = {"id": "p2", "status": "PENDING", "method": "card"}
    world.ping.sandbox.state.put("order", "o1", order | {"payments": [*order["payments"], pending]})

    async def payment_ends() -> None:
        refused = [op for op in world.operations() if op[1] == 403]
        while len(refused) < 5:
            await asyncio.sleep(0)
            refused = [op for op in world.operations() if op[1] == 403]
        world.ping.sandbox.state.put("order", "o1", order)

    async def both() -> None:
        await asyncio.gather(one_life(world, QUICK, Moments(set())), payment_ends())

    asyncio.run(both())
    codes = [code for _, code, _ in world.operations()]
    assert codes[:5] == [403] * 5
    assert codes[-1] == 204
    assert world.steps() == ["CLOSED"]


def test_a_refusal_for_good_is_reported_in_the_providers_words_and_not_repeated() -> None:
    world = world_with("o1", [("order-close", close("no-such-order"))])
    live_until_done(world, QUICK, [])
    assert world.committed == 1
    update = ORDER_UPDATE.decode(world.updates[0].value)
    assert (update["step"], update["reason"]) == (
        "FAILED",
        "CLOSE answered 404: not_found not found",
    )
    assert len(world.updates) == 1
