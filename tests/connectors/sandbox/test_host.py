"""The sandbox end to end: a receiver on one free port, the simulated providers on another."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from connectors.clock import micros_now
from connectors.http.server import Address
from connectors.providers import examples
from connectors.providers.registry import PROVIDERS
from connectors.sandbox.config import SandboxConfig, load_secrets, simulator_of
from connectors.sandbox.send import Post, Reply, send, set_examples
from tests.connectors.sandbox.sandboxes import free_socket, hosted, served
from tests.support.waiting import PATIENCE, until

# The servers use real ports and real time.
pytestmark = pytest.mark.slow

# At this speed, a retry follows within milliseconds.
FAST = 100_000.0
PING_LINKS = "/ping/payment_links/api/v1/payment_links"
PING_ORDERS = "/ping/payments/api/v1/payment_orders"


@dataclass
class Receiver:
    """Stores the callbacks and answers with the next of `statuses`, by default 200."""

    url: str = ""
    statuses: list[int] = field(default_factory=list)
    body: bytes = b""
    received: list[tuple[str, bytes, dict[str, str]]] = field(default_factory=list)

    async def receive(self, request: Request) -> Response:
        provider = request.path_params["provider"]
        self.received.append((provider, await request.body(), dict(request.headers)))
        return Response(self.body, self.statuses.pop(0) if self.statuses else 200)

    def received_statuses(self) -> list[Any]:
        return [orjson.loads(body)["status"] for _, body, h in self.received if is_json(h)]


def is_json(headers: dict[str, str]) -> bool:
    return "json" in headers["content-type"]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = Starlette(routes=[Route("/callbacks/{provider}", receiver.receive, methods=["POST"])])
    async with served(app, free_socket()) as receiver.url:
        yield receiver


async def test_callback_repeats_until_acknowledged(tmp_path: Path, receiver: Receiver) -> None:
    receiver.statuses = [503, 204, 200]
    async with hosted(tmp_path, receiver.url, FAST) as host:
        await host.control("links", {"provider": "peach", "link_id": "link-1"})
        await until(lambda: host.simulation.store.counts()["delivered"] == 1, "the delivery")
        # 204 does not acknowledge a webhook of Peach.
        assert receiver.received_statuses() == ["initiated"] * 3
        assert len({headers["x-webhook-id"] for _, _, headers in receiver.received}) == 1
        counts = await host.get("/control/deliveries")
        assert counts == {"pending": 0, "delivered": 1, "failed": 0}


async def test_ipint_repeats_until_the_body_is_empty(tmp_path: Path, receiver: Receiver) -> None:
    receiver.body = b"thank you"
    async with hosted(tmp_path, receiver.url, FAST) as host:
        await host.control("links", {"provider": "ipint", "link_id": "link-1"})
        await host.control("links/ipint/link-1", {"steps": ["FAILED"]})
        # At this speed, several repeats can arrive between two checks.
        await until(lambda: len(receiver.received) >= 2, "the repeat")
        receiver.body = b""
        await until(lambda: host.simulation.store.counts()["delivered"] == 1, "the delivery")


async def test_restart_continues_deliveries(tmp_path: Path, receiver: Receiver) -> None:
    with closing(free_socket()) as unreachable:  # It is bound but does not listen.
        address, port = unreachable.getsockname()
        async with hosted(tmp_path, f"http://{address}:{port}", 1.0) as host:
            await host.control("links", {"provider": "ping", "link_id": "link-1"})
            due = host.simulation.store.due
            await until(lambda: due(2**62, 1)[0].attempts == 1, "a failed attempt")
    async with hosted(tmp_path, receiver.url) as host:
        host.simulation.store.release("", 3600 * 1_000_000)
        host.simulation.deliveries.wake()
        await until(lambda: bool(receiver.received), "the callback from before the restart")
        await host.control("links/ping/link-1", {"steps": ["EXPIRED"]})
        await until(lambda: len(receiver.received) == 2, "the next callback")
        assert receiver.received_statuses() == ["CREATED", "EXPIRED"]


async def test_api_can_be_down_or_slow(tmp_path: Path, receiver: Receiver) -> None:
    async with hosted(tmp_path, receiver.url) as host:
        await host.control("down", {"provider": "ipint", "seconds": 60})
        down = await host.client.get("/ipint/say")
        assert (down.status_code, down.headers["retry-after"]) == (503, "1")
        await host.control("down", {"provider": "ipint", "seconds": 0})
        await host.control("delay", {"provider": "ipint", "seconds": 0.3})
        with pytest.raises(httpx.ReadTimeout):
            await host.client.get("/ipint/say", timeout=httpx.Timeout(PATIENCE, read=0.05))
        await host.control("delay", {"provider": "ipint", "seconds": 0})
        assert (await host.client.get("/ipint/say")).status_code == 200


async def test_control_api_explains_errors(tmp_path: Path, receiver: Receiver) -> None:
    calls: list[tuple[str, dict[str, Any], int]] = [
        ("example", {"provider": "ping"}, 422),
        ("example", {"provider": "acme", "name": "x"}, 422),
        ("links/ping/none", {"steps": ["EXPIRED"]}, 404),
        ("links/acme/none", {"steps": ["EXPIRED"]}, 404),
        ("scenarios", {"links": 0}, 422),
        ("delay", {"provider": "ping", "seconds": -1}, 422),
    ]
    async with hosted(tmp_path, receiver.url) as host:
        for path, doc, status in calls:
            response = await host.client.post(f"/control/{path}", json=doc)
            assert (response.status_code, bool(response.text)) == (status, True)
        assert (await host.client.get("/acme/x")).status_code == 404


async def post(config: SandboxConfig, provider: str, *posts: Post) -> list[Reply]:
    replies: list[Reply] = []
    await set_examples(config, provider, posts)
    await send(config, provider, posts, replies.append)
    return replies


def example(provider: str, name: str) -> Post:
    content_type = examples.content_type(provider, name)
    return Post(name, examples.body(provider, name), content_type, name)


async def test_examples_are_sent_as_the_provider_sends_them(
    tmp_path: Path, receiver: Receiver
) -> None:
    signature = {"peach": "x-webhook-signature", "truelayer": "tl-signature"}
    async with hosted(tmp_path, receiver.url) as host:
        for provider in PROVIDERS:
            for name in examples.names(provider):
                receiver.received.clear()
                message = example(provider, name)
                replies = await post(host.config, provider, message, message)
                assert [reply[1:3] for reply in replies] == [(200, True)] * 2
                assert [r[:2] for r in receiver.received] == [(provider, message.body)] * 2
                headers = receiver.received[0][2]
                assert headers["content-type"] == message.content_type
                unsigned = name.startswith(("batch", "configuration"))
                if provider in signature:
                    assert (signature[provider] in headers) is not unsigned


async def test_example_can_be_sent_without_a_sandbox(tmp_path: Path, receiver: Receiver) -> None:
    with closing(free_socket()) as unreachable:  # It is bound but does not listen.
        address = Address(*unreachable.getsockname())
        config = SandboxConfig(address, tmp_path, receiver.url, load_secrets(tmp_path))
        (reply,) = await post(config, "ping", example("ping", "completed"))
        assert reply.status == 200
        without_edge = replace(config, edge_url=config.base_url)
        with pytest.raises(httpx.ConnectError):
            await post(without_edge, "ping", example("ping", "completed"))


async def test_simulated_provider_keeps_the_last_example(
    tmp_path: Path, receiver: Receiver
) -> None:
    """A lookup confirms the last example, whatever the order of the callbacks."""
    async with hosted(tmp_path, receiver.url) as host:
        sent = [example("ping", name) for name in ("expired", "completed")]
        await set_examples(host.config, "ping", sent)
        (link,) = await host.get(PING_LINKS, host.ping_headers)
        assert link["status"] == "COMPLETED"


@pytest.mark.parametrize(
    ("provider", "status", "body", "acknowledged"),
    [
        ("peach", 204, b"", False),
        ("truelayer", 204, b"", True),
        ("peach", 200, b"thank you", True),
        # iPint requires an empty body.
        ("ipint", 200, b"thank you", False),
    ],
)
def test_each_provider_has_its_own_acknowledgement(
    provider: str, status: int, body: bytes, acknowledged: bool
) -> None:
    assert simulator_of(provider).acknowledged(status, body) is acknowledged


async def test_scenario_delivers_exactly_its_callbacks(tmp_path: Path, receiver: Receiver) -> None:
    form = {"links": 24, "seed": 5, "run": "r1", "spread_seconds": 0.1}
    async with hosted(tmp_path, receiver.url) as host:
        scenario = await host.control("scenarios", form)
        counts = host.simulation.store.counts
        await until(lambda: counts("r1")["pending"] == 0, "all callbacks")
        assert len(receiver.received) == counts("r1")["delivered"]
    assert {link["provider"] for link in scenario["links"]} == set(PROVIDERS)
    callbacks = Counter((provider, body) for provider, body, _ in receiver.received)
    assert max(callbacks.values()) > 1
    for link in scenario["links"]:
        received = any(link["link_id"].encode() in body for _, body in callbacks)
        assert received or link["outcome"] in ("cancelled", "left open")


async def test_held_scenario_waits_for_release(tmp_path: Path, receiver: Receiver) -> None:
    form = {"links": 4, "seed": 5, "run": "r1", "spread_seconds": 0.0, "hold": True}
    async with hosted(tmp_path, receiver.url) as host:
        await host.control("scenarios", form)
        pending = (await host.get("/control/deliveries?run=r1"))["pending"]
        assert pending > 0
        assert host.simulation.store.due(micros_now() + 86_400 * 1_000_000, 1) == []
        assert await host.control("scenarios/r2/release", {}) == {"released": 0}
        assert await host.control("scenarios/r1/release", {}) == {"released": pending}
        await until(lambda: len(receiver.received) == pending, "all callbacks")


async def test_log_shows_the_operations_on_orders(tmp_path: Path, receiver: Receiver) -> None:
    async with hosted(tmp_path, receiver.url) as host:
        for order_id in ("order-1", "order-2"):
            link = {"provider": "ping", "link_id": order_id, "order_id": order_id}
            await host.control("links", link)
            url = f"{PING_ORDERS}/{order_id}/close"
            close = await host.client.put(url, headers=host.ping_headers, json={})
            assert close.status_code == 204
        log = await host.get("/control/ping/log")
        assert [entry["order_id"] for entry in log] == ["order-1", "order-2"]
        assert await host.get("/control/ping/orders/order-2/log") == log[1:]
