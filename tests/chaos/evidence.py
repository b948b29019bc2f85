"""What a run has left behind: the topics read committed, the board's SQL, the provider's log."""

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from confluent_kafka import Message

from connectors.kafka import Cluster
from connectors.registry import PROVIDERS
from schemas import topics
from schemas.records import Anomaly, LinkEvent, LinkStatus, Notice, OrderClose, Settlement
from tests.chaos.expectation import headers_of
from tests.chaos.sandboxing import delivered
from tests.reading import read_all


@dataclass(frozen=True, slots=True)
class Board:
    """The board's tables, decoded. Dead letters by their place in the topic."""

    rows: dict[tuple[str, str], LinkStatus]
    orders: dict[tuple[str, str], Any]
    closes: set[str]
    settlements: set[str]
    notices: set[str]
    dead_letters: set[str]
    unreadable: int


@dataclass(frozen=True, slots=True)
class Evidence:
    raw: dict[str, list[Message]]
    registrations: list[Message]
    events: list[LinkEvent]
    notices: list[Notice]
    dead_letters: list[Message]
    rows: dict[tuple[str, str], LinkStatus]
    orders: dict[tuple[str, str], Any]
    closes: list[OrderClose]
    settlements: list[Settlement]
    anomalies: list[Anomaly]
    board: Board
    # Of Ping's Payments API, in order.
    operations: list[dict[str, Any]]
    # What the providers themselves delivered and got acknowledged.
    delivered: list[tuple[str, bytes]]


def gather(cluster: Cluster, folder: Path) -> Evidence:
    def values(topic: topics.Topic[Any]) -> list[Any]:
        assert topic.codec is not None
        return [topic.codec.decode(m.value()) for m in read_all(cluster, topic.name)]

    sandbox = folder / "sandbox" / "sandbox.sqlite"
    return Evidence(
        raw={name: read_all(cluster, topics.callbacks(name).name) for name in PROVIDERS},
        registrations=read_all(cluster, topics.LINKS.name),
        events=values(topics.LINK_EVENTS),
        notices=values(topics.NOTICES),
        dead_letters=read_all(cluster, topics.DEAD_LETTERS.name),
        rows=_by_id(values(topics.LINK_STATUS), "link_id"),
        orders=_by_id(values(topics.ORDERS), "order_id"),
        closes=values(topics.ORDER_CLOSE),
        settlements=values(topics.SETTLEMENT),
        anomalies=values(topics.ANOMALIES),
        board=read_board(folder / "board.sqlite"),
        operations=_operations(sandbox),
        delivered=delivered(sandbox),
    )


def _by_id(records: Iterable[Any], name: str) -> dict[tuple[str, str], Any]:
    """The newest record of each key, as a table has it."""
    return {(record["provider"], record[name]): record for record in records}


def read_board(path: Path) -> Board:
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10) as connection:

        def records(table: str) -> list[Any]:
            return [json.loads(row[0]) for row in connection.execute(f"SELECT record FROM {table}")]

        places = connection.execute('SELECT topic, partition, "offset" FROM dead_letters')
        board = Board(
            rows=_by_id(records("link_status"), "link_id"),
            orders=_by_id(records("orders"), "order_id"),
            closes={record["event_id"] for record in records("order_close")},
            settlements={record["event_id"] for record in records("settlements")},
            notices={record["event_id"] for record in records("notices")},
            dead_letters={f"{topic}/{partition}/{offset}" for topic, partition, offset in places},
            unreadable=connection.execute("SELECT count(*) FROM unreadable").fetchone()[0],
        )
    connection.close()
    return board


def _operations(path: Path) -> list[dict[str, Any]]:
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)
    query = "SELECT document FROM documents WHERE provider = 'ping' AND kind = 'log'"
    found = connection.execute(f"{query} ORDER BY number").fetchall()
    connection.close()
    return [json.loads(row[0]) for row in found]


def trace_of(message: Message) -> str | None:
    """The trace id that the sender gave the attempt, if it was one of ours."""
    parts = headers_of(message).get("traceparent", "").split("-")
    return parts[1] if len(parts) == 4 else None
