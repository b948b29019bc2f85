"""The network between the processes: a proxy for each link, in a thread of its own."""

import asyncio
import threading
from collections.abc import Callable

import uvloop

from tests.chaos.proxy import Proxy, Target
from tests.support.ports import free_port

HOST = "127.0.0.1"


class Network:
    """Links by name, "client>server". Use it from any thread."""

    def __init__(self) -> None:
        self._proxies: dict[str, Proxy] = {}
        self._servers: list[asyncio.Server] = []
        self._errors: list[str] = []
        self._loop = uvloop.new_event_loop()
        self._loop.set_exception_handler(lambda _, context: self._errors.append(repr(context)))
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def add(self, name: str, target: Target) -> int:
        """Return the port at which the link's client finds its server."""
        port = free_port()
        asyncio.run_coroutine_threadsafe(self._serve(name, target, port), self._loop).result()
        return port

    async def _serve(self, name: str, target: Target, port: int) -> None:
        proxy = self._proxies[name] = Proxy(target)
        self._servers.append(await asyncio.start_server(proxy.forward, HOST, port))

    def cut(self, name: str) -> None:
        self._call(self._proxies[name].cut)

    def hold(self, name: str) -> None:
        self._call(self._proxies[name].hold)

    def delay(self, name: str, seconds: float) -> None:
        proxy = self._proxies[name]
        self._call(lambda: setattr(proxy, "lag", seconds))

    def heal(self, name: str) -> None:
        self._call(self._proxies[name].heal)

    def _call(self, change: Callable[[], None]) -> None:
        self._loop.call_soon_threadsafe(change)

    def close(self) -> None:
        """Close all connections. Raises RuntimeError if a proxy failed."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        if self._errors:
            raise RuntimeError(f"the network failed: {self._errors[0]}")

    async def _close(self) -> None:
        # A cancelled task is no failure.
        self._loop.set_exception_handler(lambda _, context: None)
        for server in self._servers:
            server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
