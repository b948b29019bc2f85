"""What a run left behind: committed records, the board's database, the provider's log."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from confluent_kafka import Message
from sqlalchemy import Connection, NullPool, create_engine, text

from connectors.kafka.cluster import Cluster
from connectors.providers.registry import PROVIDERS
from schemas import topics
from schemas.headers import headers_of
from schemas.records import Anomaly, LinkEvent, LinkStatus, Notice, OrderClose, Settlement
from streams.agents.agent import text_headers
from tests.chaos.sandbox import delivered, operations
from tests.support.reading import read_all, values


@dataclass(frozen=True, slots=True)
class Board:
    """The board's tables, decoded: rows by their key, and the ids of events. A dead letter's id is
    its topic/partition/offset.
    """

    rows: dict[tuple[str, str], LinkStatus]
    orders: dict[tuple[str, str], Any]
    ids: dict[str, set[str]]
    unreadable: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """`operations` are those of Ping's Payments API, in order. `delivered` are callbacks that the
    providers themselves delivered and that the edge acknowledged.
    """

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
    operations: list[dict[str, Any]]
    delivered: list[tuple[str, bytes]]


def gather(cluster: Cluster, folder: Path, database: str) -> Evidence:
    sandbox = folder / "sandbox" / "sandbox.sqlite"
    return Evidence(
        raw={name: read_all(cluster, topics.callbacks(name).name) for name in PROVIDERS},
        registrations=read_all(cluster, topics.LINKS.name),
        events=values(cluster, topics.LINK_EVENTS),
        notices=values(cluster, topics.NOTICES),
        dead_letters=read_all(cluster, topics.DEAD_LETTERS.name),
        rows=_by_id(values(cluster, topics.LINK_STATUS), "link_id"),
        orders=_by_id(values(cluster, topics.ORDERS), "order_id"),
        closes=values(cluster, topics.ORDER_CLOSE),
        settlements=values(cluster, topics.SETTLEMENT),
        anomalies=values(cluster, topics.ANOMALIES),
        board=read_board(database),
        operations=operations(sandbox),
        delivered=delivered(sandbox),
    )


def _by_id(records: Iterable[Any], name: str) -> dict[tuple[str, str], Any]:
    """Return the newest record of each key, as a table has it."""
    return {(record["provider"], record[name]): record for record in records}


def read_board(database: str) -> Board:
    """Return the tables in the database of this SQLAlchemy URL."""
    engine = create_engine(database, poolclass=NullPool)
    with engine.connect() as connection:
        return _read_board(connection)


def _read_board(connection: Connection) -> Board:
    def rows(statement: str) -> Sequence[Any]:
        return connection.execute(text(statement)).all()

    def records(table: str) -> list[Any]:
        return [json.loads(row[0]) for row in rows(f"SELECT record FROM {table}")]

    places = rows('SELECT topic, partition, "offset" FROM dead_letters')
    events = ("order_close", "settlements", "notices")
    ids = {table: {record["event_id"] for record in records(table)} for table in events}
    ids["dead_letters"] = {f"{topic}/{partition}/{offset}" for topic, partition, offset in places}
    return Board(
        rows=_by_id(records("link_status"), "link_id"),
        orders=_by_id(records("orders"), "order_id"),
        ids=ids,
        unreadable=len(rows("SELECT 1 FROM unreadable")),
    )


def trace_of(message: Message) -> str | None:
    """Return the trace id that the sender gave the attempt, if the sender made it."""
    parts = text_headers(headers_of(message)).get("traceparent", "").split("-")
    return parts[1] if len(parts) == 4 else None
