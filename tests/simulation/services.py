"""`linkstatus receive`, `lookup` and `settle` as simulated processes, and their supervisor.

Only their HTTP server is simulated: it has no socket.
"""

import asyncio
import signal
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from starlette.types import ASGIApp, Scope

from connectors.http.server import Address
from connectors.kafka.cluster import Cluster
from connectors.lookup.jobs import LookupLimits
from connectors.lookup.process import LookupConfig, run_lookup
from connectors.providers.order_api import OrderApi
from connectors.providers.registry import PROVIDERS
from connectors.receive.process import ReceiveConfig, run_receive
from connectors.settle.jobs import SettleLimits
from connectors.settle.process import SettleConfig, run_settle
from schemas.topics import LOOKUPS, ORDER_CLOSE, SETTLEMENT
from tests.simulation.clients import cluster_of
from tests.simulation.cluster import SimulatedKafka
from tests.simulation.connection import KafkaLoop
from tests.simulation.loop import Main
from tests.simulation.providers import Providers
from tests.simulation.scheduler import Process
from tests.support.codecs import CODECS

SERVICES = ("edge", "lookup", "settle")
_ADDRESS = Address("127.0.0.1", 8080)
# Retries come within a run.
_PAUSES = (1.0, 6.0)
_LOOKUPS = LookupLimits(
    per_second=20.0,
    unissued_per_minute=120.0,
    timeout=10.0,
    retry_pauses=_PAUSES,
    breaker_pauses=_PAUSES,
)
_SETTLES = SettleLimits(wait_pauses=_PAUSES, retry_pauses=_PAUSES, breaker_pauses=_PAUSES)
# As uvicorn's: so long may requests go on after a signal.
_END_SECONDS = 3
# Longer than any call to a provider.
_STALL_SECONDS = 40.0
# What each group reads.
_READ = {
    **{f"lookup-{name}": [LOOKUPS.name] for name in PROVIDERS},
    "settle": [ORDER_CLOSE.name, SETTLEMENT.name],
}
_HEADERS = [(b"host", b"127.0.0.1:8080")]


class Server:
    """The part of uvicorn's server that `connectors.http.server.run` uses."""

    def __init__(self, app: ASGIApp, *_: Any, **__: Any) -> None:
        self._app = app
        self._exit = asyncio.Event()
        self._requests: set[asyncio.Task[None]] = set()
        loop = asyncio.get_running_loop()
        assert isinstance(loop, KafkaLoop)
        self._loop, loop.server = loop, self

    @property
    def should_exit(self) -> bool:
        return self._exit.is_set()

    @should_exit.setter
    def should_exit(self, value: bool) -> None:
        if value:
            self._exit.set()

    async def serve(self, sockets: object = None) -> None:
        await self._exit.wait()
        if self._requests:
            _, left = await asyncio.wait(self._requests, timeout=_END_SECONDS)
            for task in left:
                task.cancel()

    def post(
        self,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
        respond: Callable[[int], None],
    ) -> None:
        """Handle a request, as one that arrives now. `respond` gets the status of the answer."""
        if not self.should_exit:
            scope = _scope(path, headers, len(body))
            task = self._loop.create_task(self._handle(scope, body, respond))
            self._requests.add(task)
            task.add_done_callback(self._requests.discard)

    async def _handle(self, scope: Scope, body: bytes, respond: Callable[[int], None]) -> None:
        async def receive() -> Any:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                respond(message["status"])

        await self._app(scope, receive, send)


def _scope(path: str, headers: Mapping[str, str], size: int) -> Scope:
    fields = {**headers, "content-length": str(size)}
    raw = [(name.lower().encode(), text.encode("latin-1")) for name, text in fields.items()]
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [*_HEADERS, *raw],
        "client": ("127.0.0.1", 40_000),
        "server": ("127.0.0.1", 8080),
    }


class Services:
    """The running processes, by name. One that has ended starts again."""

    def __init__(self, kafka: SimulatedKafka, providers: Providers) -> None:
        self._kafka, self._providers = kafka, providers
        self._loops: dict[str, KafkaLoop] = {}
        # Processes that have ended themselves: they made no progress.
        self.stalled: list[str] = []

    def start(self) -> None:
        for name in SERVICES:
            self._start(name)

    def process(self, name: str) -> Process:
        return self._loops[name].process

    @property
    def edge(self) -> Server | None:
        """Return the edge's server, if it runs."""
        loop = self._loops["edge"]
        server = loop.server
        return server if isinstance(server, Server) and loop.process.is_alive else None

    def _start(self, name: str) -> None:
        process = Process(self._kafka.scheduler, name)
        main = self._main(name, cluster_of(self._kafka, process))
        self._loops[name] = KafkaLoop(process, self._kafka, main)

    def _main(self, name: str, cluster: Cluster) -> Main:
        # Each process has its own tokens and nonces.
        providers = self._providers.new()
        shared = cluster, CODECS
        if name == "edge":
            return lambda: run_receive(ReceiveConfig(*shared, providers, {}, _ADDRESS))
        if name == "lookup":
            lookup = LookupConfig(*shared, providers, _ADDRESS, _LOOKUPS, _STALL_SECONDS)
            return lambda: run_lookup(lookup)
        apis = {one: api for one, api in providers.items() if isinstance(api, OrderApi)}
        settle = SettleConfig(*shared, apis, _ADDRESS, _SETTLES, _STALL_SECONDS)
        return lambda: run_settle(settle)

    def exit_process(self, code: int) -> None:
        """End the process whose thread runs, as `os._exit` does."""
        scheduler = self._kafka.scheduler
        thread = scheduler.running
        assert thread is not None
        name = thread.process.name
        self.stalled.append(name)
        scheduler.later(0, lambda: self.kill(name, 1.0, in_order=False))
        thread.wait()

    def kill(self, name: str, seconds: float, *, in_order: bool) -> None:
        """Kill it, or let it end in order, and start it again after this time at the earliest."""
        process = self.process(name)
        if process.has_ended:
            return
        if in_order:
            process.later(0, lambda: self._loops[name].signal(signal.SIGTERM))
        else:
            process.kill()
        self._restart(name, seconds)

    def _restart(self, name: str, seconds: float) -> None:
        before = self._loops[name]

        def start() -> None:
            if self._loops[name] is not before:
                return
            if before.process.has_ended:
                self._start(name)
            else:
                self._restart(name, 1.0)

        self._kafka.scheduler.later(seconds, start)

    def stop(self) -> None:
        """Kill all processes, for good."""
        for loop in self._loops.values():
            loop.process.kill()


def waiting_records(kafka: SimulatedKafka) -> Iterator[str]:
    """Yield what lookups and settlements have not committed yet."""
    for group, topics in _READ.items():
        committed = kafka.group(group).committed
        for name in topics:
            for number, log in enumerate(kafka.topics[name]):
                known = committed.get((name, number))
                left, _ = log.read(known.offset if known else 0, 1000, True)
                if left:
                    yield f"{group}: {len(left)} records of {name}/{number} wait"
