"""Servers for the commands of a test: any app, or a board without Kafka."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import SecretStr
from starlette.types import ASGIApp

from connectors.board.board import Board, BoardConfig
from connectors.board.database.store import Store
from connectors.board.process import application
from connectors.http.server import Address, http_server, probes
from connectors.kafka.cluster import Cluster
from connectors.providers.registry import PROVIDERS
from tests.connectors.sandbox.sandboxes import free_socket
from tests.support.codecs import CODECS
from tests.support.waiting import until_sync


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


@contextmanager
def serving_board(folder: Path, token: str | None = None) -> Iterator[tuple[str, Store]]:
    """The address and the store of a board without Kafka."""
    url, address = f"sqlite:///{folder / 'board.sqlite'}", Address("127.0.0.1", 0)
    cluster, secret = Cluster("127.0.0.1:1"), SecretStr(token) if token else None
    board = Board(BoardConfig(cluster, CODECS, tuple(PROVIDERS), url, address, secret))
    with serving(application(board, probes(lambda: None))) as served_at:
        yield served_at, board.store
    board.store.close()
