"""The HTTP server of the asyncio processes: probes, start, and an orderly end."""

import asyncio
import contextlib
import logging
import resource
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route, Router
from starlette.types import ASGIApp

from connectors.http.acceptor import Acceptor, Shares
from connectors.http.protocol import Connections, HttpLimits, LimitedProtocol, OnRefusal

log = logging.getLogger(__name__)
# Files of a process beside its connections: Kafka, database, logs, connections that are closing.
_OTHER_FILES = 1000
# Connections that wait in the kernel; uvicorn's own default.
_BACKLOG = 2048

# A server on every address is reached on the loopback address.
_REACHED_AT = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104

# Returns why the process cannot do its job now, or None when it can.
Readiness = Callable[[], str | None]


@dataclass(frozen=True, slots=True)
class Address:
    """Where a process listens, and the limits of its connections."""

    host: str
    port: int
    limits: HttpLimits = field(default_factory=HttpLimits)

    @property
    def url(self) -> str:
        """The server's URL for programs on this machine."""
        return f"http://{_authority(_REACHED_AT.get(self.host, self.host), self.port)}"


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def probes(
    readiness: Readiness, metrics: CollectorRegistry = REGISTRY, **parts: Readiness
) -> list[BaseRoute]:
    """Return the routes /healthz (the process runs), /readyz (it can do its job; else 503 and the
    reason) and /metrics (Prometheus; by default all metrics of the process); and /readyz/{part} for
    a part whose readiness is apart.
    """

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(request: Request) -> Response:
        part = request.path_params.get("part", "")
        if part and part not in parts:
            return PlainTextResponse(f"there is no {part} here\n", 404)
        reason = parts.get(part, readiness)()
        return PlainTextResponse(f"{reason or 'ready'}\n", 503 if reason else 200)

    async def latest(_: Request) -> Response:
        return Response(generate_latest(metrics), media_type=CONTENT_TYPE_LATEST)

    return [
        Route("/healthz", healthz),
        Route("/readyz", readyz),
        Route("/readyz/{part}", readyz),
        Route("/metrics", latest),
    ]


def in_front(routes: Sequence[BaseRoute], app: ASGIApp) -> ASGIApp:
    """`app` with these routes before it. Not a mount: that matches no path with a line feed."""
    router = Router(routes, redirect_slashes=False, default=app)
    return router


class ServiceEnded(RuntimeError):
    """A service that should run for ever ended without an exception."""


class CannotListen(OSError):
    """The address is in use, or does not belong to this machine."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(
            f"cannot listen on {_authority(host, port)}; end the process that uses it, or set "
            "another --port (LINKSTATUS_HTTP__HOST if it is not an address of this machine)"
        )


def _allow_files(number: int) -> None:
    """Raise the limit of open files: each connection is one, and often only 1,024 are allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # -1 is no limit.
    allowed = number if hard < 0 else min(number, hard)
    if 0 <= soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < number:
        log.warning(
            "only %d files may be open here, %d are needed; raise the limit (ulimit -n), or set "
            "LINKSTATUS_HTTP__CONNECTIONS",
            allowed,
            number,
        )


class _Server(uvicorn.Server):
    """uvicorn with limits, and without its own signal handlers: `run` ends it together with the
    services.
    """

    def __init__(
        self, config: uvicorn.Config, connections: Connections, shares: Shares | None
    ) -> None:
        super().__init__(config)
        self._connections = connections
        self._shares = shares
        self._acceptor: Acceptor | None = None

    async def on_tick(self, counter: int) -> bool:
        """uvicorn calls this ten times a second."""
        self._connections.sweep(asyncio.get_running_loop().time())
        self._others_have_fewer()
        return await super().on_tick(counter)

    def _others_have_fewer(self) -> bool:
        shares, number = self._shares, len(self.server_state.connections)
        return shares is not None and shares.publish(number)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        _allow_files(self._connections.settings.connections + _OTHER_FILES)
        shared = sockets if self._shares else None
        try:
            # uvicorn must not accept from shared sockets.
            await super().startup([] if shared else sockets)
        except SystemExit:  # uvicorn has logged the reason and would end the process
            raise CannotListen(self.config.host, self.config.port) from None
        if shared:
            self._acceptor = Acceptor(shared, self._protocol, self._others_have_fewer)

    def _protocol(self) -> asyncio.Protocol:
        """Return the protocol of a new connection, as uvicorn creates it."""
        state, app_state = self.server_state, self.lifespan.state
        protocol: Any = self.config.http_protocol_class
        created: asyncio.Protocol = protocol(
            config=self.config, server_state=state, app_state=app_state
        )
        return created

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._acceptor:
            self._acceptor.close()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def http_server(
    app: ASGIApp, address: Address, shares: Shares | None = None, refused: OnRefusal | None = None
) -> uvicorn.Server:
    """Return a uvicorn server for `app`, with `shares` if other processes accept connections from
    the same sockets. It calls `refused` for each request that it answers by itself, because of a
    limit. uvicorn was chosen by measurement: it answers twice as many callbacks as granian here.
    """
    connections = Connections(address.limits, refused)
    protocol: Any = partial(LimitedProtocol, shared=connections)
    config = uvicorn.Config(
        app,
        host=address.host,
        port=address.port,
        loop="uvloop",
        http=protocol,
        ws="none",
        lifespan="off",
        access_log=False,
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=3,
        backlog=_BACKLOG,
    )
    return _Server(config, connections, shares)


def listen(address: Address) -> list[socket.socket]:
    """Return sockets that listen at the address, as a server would open them: `localhost`, or an
    empty host, has several. Raises CannotListen.
    """

    async def bind() -> list[socket.socket]:
        loop = asyncio.get_running_loop()
        host, port = address.host or None, address.port
        server = await loop.create_server(asyncio.Protocol, host, port, start_serving=False)
        sockets = [opened.dup() for opened in server.sockets]
        server.close()
        return sockets

    try:
        sockets = asyncio.run(bind())
        for opened in sockets:
            opened.listen(_BACKLOG)
    except OSError as error:
        raise CannotListen(address.host, address.port) from error
    return sockets


async def run(
    server: uvicorn.Server,
    services: Sequence[Callable[[], Awaitable[None]]],
    sockets: list[socket.socket] | None = None,
) -> None:
    """Run the server and the services until SIGINT or SIGTERM, or until one of them ends.

    The server accepts connections from `sockets`, if given, else at its address. A service that
    raises ends the process with that exception, so that a supervisor restarts it. Services are
    cancelled at the end and may clean up in `finally`. Raises ServiceEnded.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    tasks = [asyncio.ensure_future(service()) for service in services]
    serving = asyncio.create_task(server.serve(sockets))
    stopping = asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait({*tasks, serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    expected = server.should_exit or bool(done & {serving, stopping})
    server.should_exit = True
    await asyncio.gather(serving, return_exceptions=True)
    for task in (*tasks, stopping):
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in (*(t.exception() for t in done if not t.cancelled()), *results):
        if isinstance(result, Exception):
            raise result
    if not expected:
        raise ServiceEnded(f"a service of the process ended by itself: {results!r}")


async def run_with_probes(
    address: Address, readiness: Readiness, services: Sequence[Callable[[], Awaitable[None]]]
) -> None:
    """As `run`, with a server that has nothing but the probes."""
    await run(http_server(Starlette(routes=probes(readiness)), address), services)
