"""A board, the sandbox as a process, and an external receiver of callbacks."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from connectors.board.database.store import Store
from connectors.providers.base import Inbound
from streams.local import subprocesses
from tests.connectors.board.samples import Make
from tests.support.ports import free_port
from tests.support.serving import serving, serving_board
from tests.support.shell import Shell
from tests.support.waiting import until_sync


class Receiver:
    """An external receiver: it takes any path, and answers with `answers`, then with 200."""

    def __init__(self) -> None:
        self.callbacks: list[Inbound] = []
        self.times: list[float] = []
        self.answers: list[int] = []
        self.url = ""

    async def post(self, request: Request) -> Response:
        self.times.append(time.monotonic())
        self.callbacks.append(Inbound(request.url.path, request.headers, await request.body()))
        status = self.answers.pop(0) if self.answers else 200
        return Response("" if status == 200 else "not now", status)


@pytest.fixture
def make() -> Make:
    return Make()


@pytest.fixture
def store(tmp_path: Path, shell: Shell) -> Iterator[Store]:
    """The store of the shell's board."""
    with serving_board(tmp_path) as (url, store):
        shell.set(EDGE_URL=url)
        yield store


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    app = Starlette(routes=[Route("/{rest:path}", receiver.post, methods=["POST"])])
    with serving(app) as receiver.url:
        yield receiver


@pytest.fixture
def sandbox(tmp_path: Path, shell: Shell) -> Iterator[Callable[..., None]]:
    """Start `linkstatus sandbox` with options and wait until it is ready."""
    port, started = free_port(), []
    shell.set(SANDBOX__PORT=str(port))

    def answers() -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False).is_success
        except httpx.HTTPError:
            return False

    def start(*options: str) -> None:
        command = [sys.executable, "-m", "streams.cli", "sandbox", *options]
        env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
        started.append(subprocesses.spawn(command, tmp_path / "out", env))
        until_sync(answers, "the sandbox")

    yield start
    for one in started:
        subprocesses.stop(one, 10)
