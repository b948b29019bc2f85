"""Simulated providers for tests: on a store in memory, at a time that stands still; and servers."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.types import ASGIApp

from connectors.process import Address, http_server
from connectors.provider import ApiRequest, ApiResponse
from connectors.sandbox.simulator import Callback, Simulator, Site
from connectors.sandbox.sites import sandbox_of
from connectors.sandbox.store import Store
from tests.waiting import until

NOW = 1_700_000_000_000_000
SECOND = 1_000_000
BASE_URL = "http://sandbox.test"

_open: list[Store] = []


class Simulated:
    """One provider's simulator, with the means to call it and to see what it owes."""

    def __init__(self, provider: str, speed: float = 1.0) -> None:
        kind = sandbox_of(provider)
        self.site = Site(
            BASE_URL, f"http://edge.test/callbacks/{provider}", kind.generate_secrets(), speed
        )
        self.store = Store(":memory:")
        _open.append(self.store)
        self.sandbox: Simulator = kind(self.site, self.store.of(provider))

    def call(
        self,
        method: str,
        url: str,
        doc: Any = None,
        headers: dict[str, str] | None = None,
        now: int = NOW,
    ) -> ApiResponse:
        body = b"" if doc is None else json.dumps(doc).encode()
        return self.sandbox.answer(ApiRequest(method, url, headers or {}, body), now)

    def owed(self) -> list[Callback]:
        """The callbacks owed since the last time, oldest first; they count as delivered."""
        deliveries = self.store.due(NOW, 1000)
        for delivery in deliveries:
            self.store.delivered(delivery.number, 200)
        return [delivery.callback for delivery in deliveries]


def forget_all() -> None:
    """Closes the stores of all that were simulated. Not left to the garbage collector: it runs in
    whatever thread, and SQLite refuses any but the one that opened.
    """
    while _open:
        _open.pop().close()


def said(callbacks: list[Callback]) -> list[dict[str, Any]]:
    """The bodies of those that are JSON."""
    return [json.loads(c.body) for c in callbacks if c.content_type == "application/json"]


def shown(response: ApiResponse) -> Any:
    assert response.status == 200, response
    return json.loads(response.body)


def free_socket() -> socket.socket:
    """A socket bound to a free port of this machine."""
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    return bound


@asynccontextmanager
async def served(app: ASGIApp, bound: socket.socket) -> AsyncIterator[str]:
    """The app's address while it is served."""
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
