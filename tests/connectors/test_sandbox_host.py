"""The host end to end: a receiver on a free port, the simulated providers on another."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from connectors import examples
from connectors.clock import micros_now
from connectors.process import Address
from connectors.registry import PROVIDERS
from connectors.sandbox.send import Post, Reply, agree, send
from connectors.sandbox.server import make_app
from connectors.sandbox.sites import SandboxConfig, load_secrets
from connectors.sandbox.store import Store
from connectors.sandbox.world import World
from tests.connectors.sandboxes import free_socket, served
from tests.waiting import PATIENCE, until

# The real host on real ports: seconds, not moments.
pytestmark = pytest.mark.slow


@dataclass
class Receiver:
    """Keeps what it is sent; answers 200, or what it is told to."""

    answers: list[int] = field(default_factory=list)
    says: bytes = b""
    received: list[tuple[str, bytes, dict[str, str]]] = field(default_factory=list)

    async def take(self, request: Request) -> Response:
        provider = request.path_params["provider"]
        self.received.append((provider, await request.body(), dict(request.headers)))
        return Response(self.says, self.answers.pop(0) if self.answers else 200)

    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body, h in self.received if "json" in h["content-type"]]

    def app(self) -> Starlette:
        return Starlette(routes=[Route("/callbacks/{provider}", self.take, methods=["POST"])])


@dataclass
class Host:
    config: SandboxConfig
    world: World
    client: httpx.AsyncClient

    async def control(self, path: str, doc: dict[str, Any]) -> Any:
        response = (await self.client.post(f"/control/{path}", json=doc)).raise_for_status()
        return response.json() if response.content else None

    async def get(self, path: str) -> Any:
        return (await self.client.get(path)).raise_for_status().json()


@asynccontextmanager
async def hosted(tmp_path: Path, edge_url: str, speed: float = 60.0) -> AsyncIterator[Host]:
    """The sandbox, served and delivering."""
    bound = free_socket()
    address = Address(*bound.getsockname())
    config = SandboxConfig(address, tmp_path, edge_url, load_secrets(tmp_path), speed)
    with closing(Store(tmp_path / "sandbox.sqlite")) as store:
        world = World(config, store)
        courier = asyncio.create_task(world.courier.run())
        async with (
            served(make_app(world), bound) as url,
            httpx.AsyncClient(
                base_url=url, trust_env=False, verify=False, timeout=PATIENCE
            ) as client,
        ):
            yield Host(config, world, client)
        courier.cancel()
        await asyncio.gather(courier, return_exceptions=True)


@pytest.fixture
async def receiver() -> AsyncIterator[tuple[Receiver, str]]:
    receiver = Receiver()
    async with served(receiver.app(), free_socket()) as url:
        yield receiver, url


async def test_callbacks_are_delivered_until_acknowledged(
    tmp_path: Path, receiver: tuple[Receiver, str]
) -> None:
    taken, url = receiver
    taken.answers = [503, 204, 200]
    async with hosted(tmp_path, url, speed=100_000.0) as host:
        await host.control("links", {"provider": "peach", "link_id": "link-1"})
        await until(lambda: host.world.store.counts()["delivered"] == 1, "the delivery")
        # 204 does not acknowledge a webhook of Peach.
        assert [body["status"] for body in taken.bodies()] == ["initiated"] * 3
        assert len({headers["x-webhook-id"] for _, _, headers in taken.received}) == 1
        assert await host.get("/control/deliveries") == {"owed": 0, "delivered": 1, "given up": 0}


async def test_ipint_repeats_what_was_not_answered_with_an_empty_body(
    tmp_path: Path, receiver: tuple[Receiver, str]
) -> None:
    taken, url = receiver
    taken.says = b"thank you"
    async with hosted(tmp_path, url, speed=100_000.0) as host:
        await host.control("links", {"provider": "ipint", "link_id": "link-1"})
        await host.control("links/ipint/link-1", {"words": ["FAILED"]})
        # At this speed more of them may come between two looks.
        await until(lambda: len(taken.received) >= 2, "the repeat")
        taken.says = b""
        await until(lambda: host.world.store.counts()["delivered"] == 1, "the delivery")


async def test_a_restart_goes_on_where_it_was(
    tmp_path: Path, receiver: tuple[Receiver, str]
) -> None:
    taken, url = receiver
    with closing(free_socket()) as unreachable:  # it is bound, and does not listen
        host_, port = unreachable.getsockname()
        async with hosted(tmp_path, f"http://{host_}:{port}", speed=1.0) as host:
            await host.control("links", {"provider": "ping", "link_id": "link-1"})
            await until(lambda: host.world.store.due(2**62, 1)[0].attempts == 1, "a failed attempt")
    async with hosted(tmp_path, url) as host:
        host.world.store.release("", 3600 * 1_000_000)
        host.world.courier.look_again()
        await until(lambda: bool(taken.received), "the callback owed before the restart")
        await host.control("links/ping/link-1", {"words": ["EXPIRED"]})
        await until(lambda: len(taken.received) == 2, "the next callback")
        assert [body["status"] for body in taken.bodies()] == ["CREATED", "EXPIRED"]


async def test_the_apis_are_under_their_mounts(
    tmp_path: Path, receiver: tuple[Receiver, str]
) -> None:
    _, url = receiver
    async with hosted(tmp_path, url) as host:
        ping = host.config.secrets.by_provider["ping"]
        headers = {"tenant_id": ping["tenant_id"], "x-api-secret": ping["api_secret"]}
        links = "/ping/payment_links/api/v1/payment_links"
        assert len((await host.client.get(links, headers=headers)).json()) == 1
        peach = host.config.secrets.by_provider["peach"]
        credentials = {
            "clientId": peach["client_id"],
            "clientSecret": peach["client_secret"],
            "merchantId": peach["merchant_id"],
        }
        token = await host.client.post("/peach-auth/api/oauth/token", json=credentials)
        assert token.status_code == 200
        jwks = await host.get("/truelayer/.well-known/jwks")
        assert jwks["keys"][0]["kid"] == host.config.secrets.by_provider["truelayer"]["kid"]
        assert (await host.client.get("/ipint/invoice?id=x")).status_code == 401
        assert (await host.client.get("/nobody/x")).status_code == 404


async def test_an_api_can_be_down_or_slow(tmp_path: Path, receiver: tuple[Receiver, str]) -> None:
    _, url = receiver
    async with hosted(tmp_path, url) as host:
        await host.control("down", {"provider": "ipint", "seconds": 60})
        down = await host.client.get("/ipint/say")
        assert (down.status_code, down.headers["retry-after"]) == (503, "1")
        await host.control("down", {"provider": "ipint", "seconds": 0})
        await host.control("delay", {"provider": "ipint", "seconds": 0.3})
        with pytest.raises(httpx.ReadTimeout):
            await host.client.get("/ipint/say", timeout=httpx.Timeout(PATIENCE, read=0.05))
        await host.control("delay", {"provider": "ipint", "seconds": 0})
        assert (await host.client.get("/ipint/say")).status_code == 200


async def test_the_control_api_says_what_is_wrong(
    tmp_path: Path, receiver: tuple[Receiver, str]
) -> None:
    calls: list[tuple[str, dict[str, Any], int]] = [
        ("seed", {"provider": "ping"}, 422),
        ("seed", {"provider": "nobody", "status": "x"}, 404),
        ("links/ping/none", {"words": ["EXPIRED"]}, 404),
        ("links/nobody/none", {"words": ["EXPIRED"]}, 404),
        ("play", {"links": 0}, 422),
        ("delay", {"provider": "ping", "seconds": -1}, 422),
    ]
    async with hosted(tmp_path, receiver[1]) as host:
        for path, doc, status in calls:
            response = await host.client.post(f"/control/{path}", json=doc)
            assert (response.status_code, bool(response.text)) == (status, True)


async def posted(
    config: SandboxConfig, provider: str, *posts: Post, signed_url: str | None = None
) -> list[Reply]:
    replies: list[Reply] = []
    await agree(config, provider, posts)
    await send(config, provider, posts, replies.append, signed_url=signed_url)
    return replies


def example(provider: str, name: str) -> Post:
    body, kind = examples.body(provider, name), examples.content_type(provider, name)
    return Post(name, body, kind, name)


async def test_an_example_is_sent_as_the_provider_sends_it(
    tmp_path: Path, receiver: tuple[Receiver, str]
) -> None:
    taken, url = receiver
    proofs = {"peach": "x-webhook-signature", "truelayer": "tl-signature"}
    async with hosted(tmp_path, url) as host:
        for provider in PROVIDERS:
            for name in examples.names(provider):
                post = example(provider, name)
                taken.received.clear()
                answers = await posted(host.config, provider, post, post)
                assert [(reply.status, reply.acknowledged) for reply in answers] == [
                    (200, True)
                ] * 2
                assert [(p, b) for p, b, _ in taken.received] == [(provider, post.body)] * 2
                headers = taken.received[0][2]
                assert headers["content-type"] == post.content_type
                unsigned = name.startswith(("batch", "configuration"))
                assert provider not in proofs or (proofs[provider] in headers) is not unsigned


async def test_an_example_can_be_sent_without_a_sandbox(
    tmp_path: Path, receiver: tuple[Receiver, str]
) -> None:
    with closing(free_socket()) as nobody:  # it is bound, and does not listen
        address = Address(*nobody.getsockname())
        config = SandboxConfig(address, tmp_path, receiver[1], load_secrets(tmp_path))
        (reply,) = await posted(config, "ping", example("ping", "completed"))
        assert reply.status == 200
        lost = replace(config, edge_url=config.base_url)
        with pytest.raises(httpx.ConnectError):
            await posted(lost, "ping", example("ping", "completed"))


async def test_the_simulated_provider_keeps_what_was_said_last(
    tmp_path: Path, receiver: tuple[Receiver, str]
) -> None:
    """So that a lookup confirms the end of a life, in whatever order its callbacks are sent."""
    async with hosted(tmp_path, receiver[1]) as host:
        await agree(
            host.config, "ping", [example("ping", name) for name in ("expired", "completed")]
        )
        ping = host.config.secrets.by_provider["ping"]
        headers = {"tenant_id": ping["tenant_id"], "x-api-secret": ping["api_secret"]}
        links = "/ping/payment_links/api/v1/payment_links"
        (link,) = (await host.client.get(links, headers=headers)).json()
        assert link["status"] == "COMPLETED"


async def test_what_each_provider_takes_for_an_acknowledgement_counts(
    tmp_path: Path, receiver: tuple[Receiver, str]
) -> None:
    taken, url = receiver
    config = SandboxConfig(Address("127.0.0.1", 9), tmp_path, url, load_secrets(tmp_path))
    known = {}
    for provider, name in (("peach", "completed"), ("truelayer", "payment_settled")):
        taken.answers = [204]
        (reply,) = await posted(config, provider, example(provider, name))
        known[provider] = (reply.status, reply.acknowledged)
    assert known == {"peach": (204, False), "truelayer": (204, True)}
    taken.says, said = b"thank you", {}
    for provider, name in (("peach", "completed"), ("ipint", "completed")):
        (reply,) = await posted(config, provider, example(provider, name))
        said[provider] = (reply.status, reply.acknowledged)
    # iPint wants an empty body.
    assert said == {"peach": (200, True), "ipint": (200, False)}


async def test_a_play_delivers_every_callback_and_no_other(
    tmp_path: Path, receiver: tuple[Receiver, str]
) -> None:
    taken, url = receiver
    asked = {"links": 24, "seed": 5, "run": "r1", "spread_seconds": 0.1}
    async with hosted(tmp_path, url) as host:
        planned = await host.control("play", asked)
        counts = host.world.store.counts
        await until(lambda: counts("r1")["owed"] == 0, "all callbacks")
        assert len(taken.received) == counts("r1")["delivered"]
    assert {link["provider"] for link in planned["links"]} == set(PROVIDERS)
    seen = Counter((provider, body) for provider, body, _ in taken.received)
    assert max(seen.values()) > 1
    for link in planned["links"]:
        heard = any(link["link_id"].encode() in body for _, body in seen)
        assert heard or link["outcome"] in ("cancelled", "left open")


async def test_a_held_play_waits_for_its_release(
    tmp_path: Path, receiver: tuple[Receiver, str]
) -> None:
    taken, url = receiver
    asked = {"links": 4, "seed": 5, "run": "r1", "spread_seconds": 0.0, "hold": True}
    async with hosted(tmp_path, url) as host:
        await host.control("play", asked)
        owed = (await host.get("/control/deliveries?run=r1"))["owed"]
        assert owed > 0
        assert host.world.store.due(micros_now() + 86_400 * 1_000_000, 1) == []
        assert await host.control("play/r1/release", {}) == {"released": owed}
        await until(lambda: len(taken.received) == owed, "all callbacks")


async def test_the_log_tells_of_the_operations_on_orders(
    tmp_path: Path, receiver: tuple[Receiver, str]
) -> None:
    _, url = receiver
    async with hosted(tmp_path, url) as host:
        ping = host.config.secrets.by_provider["ping"]
        headers = {"tenant_id": ping["tenant_id"], "x-api-secret": ping["api_secret"]}
        for order_id in ("order-1", "order-2"):
            await host.control(
                "links", {"provider": "ping", "link_id": order_id, "order_id": order_id}
            )
            orders = "/ping/payments/api/v1/payment_orders"
            close = await host.client.put(f"{orders}/{order_id}/close", headers=headers, json={})
            assert close.status_code == 204
        log = await host.get("/control/ping/log")
        assert [entry["order_id"] for entry in log] == ["order-1", "order-2"]
        assert await host.get("/control/ping/orders/order-2/log") == log[1:]
