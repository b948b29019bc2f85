"""Simulated providers for tests, on an in-memory store or behind a real server; test servers."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from starlette.types import ASGIApp

from connectors.http.server import Address, http_server
from connectors.providers.base import ApiRequest, ApiResponse
from connectors.providers.simulator import Callback, NewLink, Simulator, Site
from connectors.sandbox.config import SandboxConfig, load_secrets, simulator_of
from connectors.sandbox.process import make_app
from connectors.sandbox.simulation import Simulation
from connectors.sandbox.store import Store
from tests.support.waiting import PATIENCE, until

NOW = 1_700_000_000_000_000
SECOND = 1_000_000
BASE_URL = "http://sandbox.test"

_open_stores: list[Store] = []


class Simulated:
    """One provider's simulator on an in-memory store, at a fixed time."""

    def __init__(self, provider: str, speed: float = 1.0) -> None:
        kind = simulator_of(provider)
        callback_url = f"http://edge.test/callbacks/{provider}"
        api_url = f"{BASE_URL}/{provider}"
        self.site = Site(api_url, callback_url, kind.generate_secrets(), speed)
        self.store = Store(":memory:")
        _open_stores.append(self.store)
        self.sandbox: Simulator = kind(self.site, self.store.of(provider))

    def create(self, *steps: str, link_id: str = "link-1", amount_minor: int = 12345) -> str:
        """Create a link of the order "order-1" and move it by these steps. Return its id."""
        currency = self.sandbox.CURRENCY
        self.sandbox.create(NewLink(link_id, amount_minor, currency, "order-1"), NOW)
        for step in steps:
            self.sandbox.advance(link_id, step, NOW)
        return link_id

    def run_timer(self, at: int) -> None:
        """Run the only timer, which must be due exactly at this time."""
        assert self.store.pop_timers(at - 1) == []
        (timer,) = self.store.pop_timers(at)
        self.sandbox.on_timer(timer.key, at)

    def call(
        self,
        method: str,
        url: str,
        doc: Any = None,
        headers: dict[str, str] | None = None,
        now: int = NOW,
    ) -> ApiResponse:
        body = b"" if doc is None else json.dumps(doc).encode()
        return self.sandbox.respond(ApiRequest(method, url, headers or {}, body), now)

    def respond(self, request: ApiRequest, now: int = NOW) -> ApiResponse:
        """Return the response to a request with an absolute URL, as the host passes it on."""
        _, _, path = request.url.removeprefix(f"{BASE_URL}/").partition("/")
        below = ApiRequest(request.method, f"/{path}", request.headers, request.body)
        return self.sandbox.respond(below, now)

    def callbacks(self) -> list[Callback]:
        """Return the new callbacks, oldest first, and mark them as delivered."""
        deliveries = self.store.due(NOW, 1000)
        for delivery in deliveries:
            self.store.finish(delivery.number, "delivered", 200)
        return [delivery.callback for delivery in deliveries]

    def settings(self) -> dict[str, Any]:
        """Return the settings that point the pipeline at this simulator."""
        environment = self.sandbox.environment(self.site)
        return {
            name.lower(): json.loads(value) if value.startswith("[") else value
            for name, value in environment.items()
        }


def close_all() -> None:
    """Close the stores of all simulators.

    The garbage collector can run in any thread, but SQLite requires the one that opened the store.
    """
    while _open_stores:
        _open_stores.pop().close()


def json_bodies(callbacks: list[Callback]) -> list[dict[str, Any]]:
    return [json.loads(c.body) for c in callbacks if c.content_type == "application/json"]


def document(response: ApiResponse) -> Any:
    """Return the JSON body of a successful response."""
    assert response.status == 200, response
    return json.loads(response.body)


def free_socket() -> socket.socket:
    """Return a socket bound to a free port of this machine."""
    # asyncio sets TCP_NODELAY only where the protocol is named; else each answer takes 40 ms more.
    bound = socket.socket(proto=socket.IPPROTO_TCP)
    bound.bind(("127.0.0.1", 0))
    return bound


@asynccontextmanager
async def served(app: ASGIApp, bound: socket.socket) -> AsyncIterator[str]:
    """Serve the app and yield its address."""
    host, port = bound.getsockname()
    server = http_server(app, Address(host, port))
    task = asyncio.create_task(server.serve(sockets=[bound]))
    try:
        await until(lambda: server.started, "the server")
        yield f"http://{host}:{port}"
    finally:
        server.should_exit = True
        await task
        bound.close()


@dataclass
class Host:
    """A running sandbox, with a client of its HTTP server."""

    config: SandboxConfig
    simulation: Simulation
    client: httpx.AsyncClient

    async def control(self, path: str, doc: dict[str, Any]) -> Any:
        response = (await self.client.post(f"/control/{path}", json=doc)).raise_for_status()
        return response.json() if response.content else None

    async def get(self, path: str, headers: dict[str, str] | None = None) -> Any:
        return (await self.client.get(path, headers=headers)).raise_for_status().json()

    @property
    def ping_headers(self) -> dict[str, str]:
        secrets = self.config.secrets["ping"]
        return {"tenant_id": secrets["tenant_id"], "x-api-secret": secrets["api_secret"]}


@asynccontextmanager
async def hosted(tmp_path: Path, edge_url: str, speed: float = 60.0) -> AsyncIterator[Host]:
    """Run the sandbox: its server and its deliveries."""
    bound = free_socket()
    address = Address(*bound.getsockname())
    config = SandboxConfig(address, tmp_path, edge_url, load_secrets(tmp_path), speed)
    with closing(Store(tmp_path / "sandbox.sqlite")) as store:
        simulation = Simulation(config, store)
        deliveries = asyncio.create_task(simulation.deliveries.run())
        async with (
            served(make_app(simulation), bound) as url,
            httpx.AsyncClient(
                base_url=url, trust_env=False, verify=False, timeout=PATIENCE
            ) as client,
        ):
            yield Host(config, simulation, client)
        deliveries.cancel()
        await asyncio.gather(deliveries, return_exceptions=True)
