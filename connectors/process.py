"""What the asyncio processes share: probes, an HTTP server, and an orderly end."""

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

log = logging.getLogger(__name__)

# Why the process cannot do its job now, or None when it can.
Readiness = Callable[[], str | None]


@dataclass(frozen=True, slots=True)
class Address:
    host: str
    port: int


def probes(readiness: Readiness, measured: CollectorRegistry = REGISTRY) -> list[BaseRoute]:
    """/healthz (the process runs), /readyz (it can do its job, else 503 and why), /metrics
    (Prometheus; what the whole process measured, unless told otherwise).
    """

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_: Request) -> Response:
        why_not = readiness()
        return PlainTextResponse(f"{why_not or 'ready'}\n", 503 if why_not else 200)

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(measured), media_type=CONTENT_TYPE_LATEST)

    return [
        Route("/healthz", healthz),
        Route("/readyz", readyz),
        Route("/metrics", metrics),
    ]


class ServiceEnded(RuntimeError):
    """A service that never ends did: nothing else says that it failed."""


class CannotListen(OSError):
    """The address is not free, or not ours."""


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: `run` ends it together with everything else."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets)
        except SystemExit:  # it has logged why; ending the process is not its business
            where = f"{self.config.host}:{self.config.port}"
            raise CannotListen(
                f"cannot listen on {where}; choose another port with --port, or see what has this"
            ) from None

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def http_server(app: ASGIApp, address: Address) -> uvicorn.Server:
    """A uvicorn server for `app`. uvicorn was chosen by measurement: it answers twice as many
    callbacks as granian here.
    """
    config = uvicorn.Config(
        app,
        host=address.host,
        port=address.port,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="off",
        access_log=False,
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=3,
    )
    return _Server(config)


async def run(server: uvicorn.Server, services: Sequence[Callable[[], Awaitable[None]]]) -> None:
    """Runs the server and the services until SIGINT or SIGTERM, or until one of them ends.

    A service that raises ends the process with that exception, for a supervisor to restart it;
    services are cancelled at the end and may clean up in `finally`."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    tasks = [asyncio.ensure_future(service()) for service in services]
    serving = asyncio.create_task(server.serve())
    stopping = asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait({*tasks, serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    told = server.should_exit or bool(done & {serving, stopping})
    server.should_exit = True
    await asyncio.gather(serving, return_exceptions=True)
    for task in (*tasks, stopping):
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in (*(t.exception() for t in done if not t.cancelled()), *results):
        if isinstance(result, Exception):
            raise result
    if not told:
        raise ServiceEnded(f"a service of the process ended by itself: {results!r}")
