"""Kafka records to rows of the board's tables. Pure: no connection, no clock."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Table

from connectors.board.database import figures
from connectors.board.database import tables as t
from connectors.board.database.waiting import Part, of_link, of_order
from connectors.clock import micros_of
from connectors.reasons import reason_of
from connectors.triage import audit
from schemas import codec, topics
from schemas import records as r
from schemas.codec import Codecs, Schema, SchemaAway
from schemas.ids import LONGEST_ID
from schemas.limits import CONNECTION_NAME_CHARACTERS

Row = dict[str, Any]

_KEY_BYTES = CONNECTION_NAME_CHARACTERS + 1 + 4 * LONGEST_ID


@dataclass(frozen=True, slots=True)
class Message:
    """A consumed record; `topic` is without the prefix, `timestamp` in milliseconds."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    topic_id: str = ""


@dataclass(slots=True)
class Batch:
    """Rows by table, the positions after them (in the topics of these ids), and the status changes
    for the live stream. First, what is older than the end of a `forgotten` link (provider, link
    id) is deleted.
    """

    forgotten: dict[tuple[str, str], int] = field(default_factory=dict)
    rows: dict[Table, list[Row]] = field(default_factory=dict)
    positions: dict[tuple[str, int], int] = field(default_factory=dict)
    topic_ids: dict[str, str] = field(default_factory=dict)
    changes: list[tuple[Message, r.LinkStatus]] = field(default_factory=list)

    def add(self, table: Table, row: Row) -> None:
        self.rows.setdefault(table, []).append(
            {name: storable(value) for name, value in row.items()}
        )

    def move_to(self, message: Message) -> None:
        """Set the position behind the message."""
        self.positions[message.topic, message.partition] = message.offset + 1
        self.topic_ids[message.topic] = message.topic_id

    def forget(self, message: Message) -> None:
        """Delete a link, because the worker did: nothing vouched for it."""
        provider, _, link_id = (message.key or b"").decode(errors="replace").partition(":")
        link, at = (storable(provider), storable(link_id)), micros_of(message.timestamp)
        self.forgotten[link] = at
        for table, time in OF_LINKS.items():
            if rows := self.rows.get(table):
                rows[:] = [
                    r for r in rows if (r["provider"], r["link_id"]) != link or r[time] >= at
                ]

    def extend(self, other: "Batch") -> None:
        for table, rows in other.rows.items():
            self.rows.setdefault(table, []).extend(rows)
        self.positions |= other.positions
        self.topic_ids |= other.topic_ids
        self.changes += other.changes


def storable(value: Any) -> Any:
    """Return the value as every database takes it: text without NUL and lone surrogates."""
    if not isinstance(value, str):
        return value
    return value.replace("\x00", "\ufffd").encode(errors="replace").decode()


_TARGETS: dict[str, tuple[Table, Schema[Any]]] = {
    topics.LINK_STATUS.name: (t.link_status, codec.LINK_STATUS),
    topics.LINK_EVENTS.name: (t.link_events, codec.LINK_EVENT),
    topics.ORDERS.name: (t.orders, codec.ORDER_STATUS),
    topics.ORDER_CLOSE.name: (t.order_close, codec.ORDER_CLOSE),
    topics.ORDER_CORRECTIONS.name: (t.order_corrections, codec.ORDER_CORRECTION),
    topics.SETTLEMENT.name: (t.settlements, codec.SETTLEMENT),
    topics.ANOMALIES.name: (t.anomalies, codec.ANOMALY),
    topics.NOTICES.name: (t.notices, codec.NOTICE),
    topics.REFUSED_CALLBACKS.name: (t.refused_callbacks, codec.REFUSED_CALLBACKS),
    topics.REPLAYS.name: (t.replays, codec.REPLAY),
    topics.RECONCILIATIONS.name: (t.reconciliations, codec.RECONCILIATION),
}

# The tables with the rows of a link that is forgotten, and the columns with their times.
OF_LINKS = {t.link_status: "changed_at", t.link_events: "received_at"}
# The tables of events, and the columns with their times. Other tables hold what is so now.
EVENTS = {
    t.link_events: "received_at",
    t.notices: "received_at",
    t.dead_letters: "at",
    t.replays: "at",
    t.unreadable: "at",
}
# All topics that the board reads.
TOPICS = (*_TARGETS, topics.DEAD_LETTERS.name)


def project(codecs: Codecs, messages: Iterable[Message]) -> Batch:
    """Return the rows of the messages. A message that cannot be decoded becomes a row of
    `unreadable`.
    """
    batch = Batch()
    for message in messages:
        batch.move_to(message)
        if message.topic == topics.DEAD_LETTERS.name:
            batch.add(t.dead_letters, _dead_letter(message))
            continue
        if message.topic == topics.LINK_STATUS.name and message.value is None:
            batch.forget(message)
            continue
        try:
            batch.extend(_projected(codecs, message))
        except SchemaAway:
            raise
        except Exception as error:  # no record may stop the others
            batch.add(t.unreadable, _unreadable(message, reason_of(error)))
    return batch


def refused(message: Message, reason: str) -> Batch:
    """Return what to store of a message whose row the database refuses."""
    batch = Batch()
    batch.move_to(message)
    batch.add(t.unreadable, _unreadable(message, reason))
    return batch


def _projected(codecs: Codecs, message: Message) -> Batch:
    batch = Batch()
    table, schema = _TARGETS[message.topic]
    record = codecs.decode(schema, message.value)
    # The columns bear the names of the fields.
    row = {column.name: record[column.name] for column in table.c if column.name in record}
    row |= {"record": json.dumps(record)}
    if table is t.link_events:
        row |= {"partition": message.partition, "offset": message.offset}
        row |= {"delivery": record["origin"] if record["source"] == "callback" else ""}
    elif table is t.replays:
        _topic, partition, offset = record["dead_letter"].rsplit("/", 2)
        row |= {"partition": int(partition), "offset": int(offset)}
    elif table is t.link_status:
        row |= _wait(of_link(record))
        row |= {"figures": figures.dumps(figures.of_link(record))}
    elif table is t.orders:
        row |= _wait(of_order(record))
        row |= {"figures": figures.dumps(figures.of_order(record))}
    elif table is t.refused_callbacks:
        row |= {"version": record["number"]}
    elif table is t.reconciliations:
        differences = sum(record[n] for n in ("missing", "amount_differs", "unknown_to_us"))
        row |= {"differences": differences, "at": micros_of(message.timestamp)}
        row |= {"version": message.offset + 1}
        row |= {"figures": figures.dumps(figures.of_reconciliation(record))}
    batch.add(table, row)
    if table is t.link_status:
        batch.changes.append((message, record))
        for payment_id in record["payment_ids"]:
            link = {"provider": record["provider"], "link_id": record["link_id"]}
            batch.add(t.link_payments, {"payment_id": payment_id, **link})
    elif table is t.notices:
        _add_mark(batch, record)
    return batch


def _wait(part: Part | None) -> Row:
    if part is None or part.waits_for == "payer":
        return {"waits_for": None, "waiting_since": None}
    return {"waits_for": part.waits_for, "waiting_since": part.since}


def _add_mark(batch: Batch, notice: r.Notice) -> None:
    mark = audit.mark_of(notice)
    row = {"resolved": mark.resolved, "version": mark.at, "record": json.dumps(notice)}
    if anomaly_id := audit.marked_anomaly(notice):
        batch.add(t.anomaly_marks, {"anomaly_id": anomaly_id, **row})
    if place := audit.marked_dead_letter(notice):
        batch.add(t.dead_letter_marks, {**place._asdict(), **row})


def _link_key(key: bytes) -> str | None:
    """Return a record's key as text, or None if it cannot be the key of a link."""
    try:
        return key.decode() if len(key) <= _KEY_BYTES else None
    except UnicodeDecodeError:
        return None


def _position(message: Message) -> Row:
    return {
        "topic": message.topic,
        "partition": message.partition,
        "offset": message.offset,
        "at": micros_of(message.timestamp),
        "key": message.key,
    }


def _unreadable(message: Message, reason: str) -> Row:
    return {**_position(message), "reason": reason, "size": len(message.value or b"")}


def _dead_letter(message: Message) -> Row:
    headers = [(name, value.decode(errors="replace")) for name, value in message.headers]
    named = dict(headers)
    return {
        **_position(message),
        "reason": named.get("reason", ""),
        "stage": named.get("stage", ""),
        "origin": named.get("origin", ""),
        "link_key": _link_key(message.key or b""),
        "headers": json.dumps(headers),
        "body": message.value,
    }
