"""A board that kills itself (SIGKILL) at a named point of its first batch; a process for tests."""

import asyncio
import os
import signal
import sys
from typing import Any

from sqlalchemy import event

from connectors.board.board import Board
from connectors.board.database.store import Store
from connectors.kafka.cluster import Cluster
from tests.connectors.board.conftest import config

# After the rows were written, after the positions were, after both were committed.
POINTS = ("rows", "positions", "committed")


def die(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_at(store: Store, point: str) -> None:
    if point == "committed":
        # Of no batch but one with rows: SQLAlchemy commits nothing else.
        apply = store.apply
        Store.apply = lambda self, batch: die(apply(batch))  # type: ignore[method-assign]
        return

    def after(_: Any, __: Any, statement: str, *___: Any) -> None:
        table = "positions" if point == "positions" else "anomalies"
        if statement.startswith(f"INSERT INTO {table} "):
            die()

    event.listen(store.engine, "after_cursor_execute", after)


def main(brokers: str, prefix: str, database_url: str, point: str) -> None:
    board = Board(config(database_url, Cluster(brokers, prefix)))
    die_at(board.store, point)
    asyncio.run(board.follow())


if __name__ == "__main__":
    main(*sys.argv[1:])
