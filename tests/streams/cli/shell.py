"""The command line as a shell sees it: exit code, stdout, stderr. And servers for it to ask."""

import asyncio
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pytest
from starlette.types import ASGIApp

from connectors.process import Address, http_server
from streams import cli
from tests.connectors.sandboxes import free_socket
from tests.waiting import until_sync


class Ran(NamedTuple):
    code: int
    out: str
    err: str


class Shell:
    """Runs the console script in this process."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], **env: str
    ) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys
        self.set(**env)

    def set(self, **env: str) -> None:
        """Settings, without LINKSTATUS_ before them."""
        for name, value in env.items():
            self._monkeypatch.setenv(f"LINKSTATUS_{name}", value)

    def run(self, *args: str) -> Ran:
        self._monkeypatch.setattr(sys, "argv", ["linkstatus", *args])
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return Ran(int(ended.value.code or 0), *self._capsys.readouterr())

    def ok(self, *args: str) -> str:
        ran = self.run(*args)
        assert ran.code == 0, ran
        return ran.out


@contextmanager
def serving(app: ASGIApp) -> Iterator[str]:
    """The app's address, while a thread serves it."""
    bound = free_socket()
    host, port = bound.getsockname()
    server = http_server(app, Address(host, port))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[bound])))
    thread.start()
    try:
        until_sync(lambda: server.started, "the server")
        yield f"http://{host}:{port}"
    finally:
        server.should_exit = True
        thread.join(10)
        bound.close()
