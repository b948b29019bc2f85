"""Kafka records to rows of the board's tables. Pure: no connection, no clock."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Table

from connectors import noting
from connectors.board import tables as t
from schemas import codec, topics
from schemas import records as r

Row = dict[str, Any]


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


@dataclass(slots=True)
class Batch:
    """Rows by table, the positions after them, and what the live stream tells."""

    rows: dict[Table, list[Row]] = field(default_factory=dict)
    positions: dict[tuple[str, int], int] = field(default_factory=dict)
    changes: list[tuple[Message, r.LinkStatus]] = field(default_factory=list)

    def add(self, table: Table, row: Row) -> None:
        self.rows.setdefault(table, []).append(
            {name: storable(value) for name, value in row.items()}
        )


def storable(value: Any) -> Any:
    """The value as every database takes it: text without NUL and lone surrogates."""
    if not isinstance(value, str):
        return value
    return value.replace("\x00", "\ufffd").encode(errors="replace").decode()


def _link_status(record: r.LinkStatus, _: Message) -> Row:
    return {
        "provider": record["provider"],
        "link_id": record["link_id"],
        "status": record["status"],
        "order_id": record["order_id"],
        # A link whose order is still awaited counts in none.
        "in_order": record["order_from"] != "AWAITED",
        "changed_at": record["changed_at"],
        "version": record["version"],
    }


def _link_event(record: r.LinkEvent, message: Message) -> Row:
    return {
        "event_id": record["event_id"],
        "provider": record["provider"],
        "link_id": record["link_id"],
        "received_at": record["received_at"],
        "partition": message.partition,
        "offset": message.offset,
    }


def _order(record: r.OrderStatus, _: Message) -> Row:
    return {
        "provider": record["provider"],
        "order_id": record["order_id"],
        "state": record["state"],
        "changed_at": record["changed_at"],
        "version": record["version"],
    }


def _decision(record: r.OrderClose | r.Settlement, _: Message) -> Row:
    return {
        "event_id": record["event_id"],
        "provider": record["provider"],
        "order_id": record["order_id"],
        "decided_at": record["decided_at"],
    }


def _anomaly(record: r.Anomaly, _: Message) -> Row:
    return {
        "event_id": record["event_id"],
        "provider": record["provider"],
        "link_id": record["link_id"],
        "kind": record["kind"],
        "at": record["at"],
    }


def _notice(record: r.Notice, _: Message) -> Row:
    return {
        "event_id": record["event_id"],
        "provider": record["provider"],
        "kind": record["kind"],
        "subject_id": record["subject_id"],
        "received_at": record["received_at"],
    }


def _replay(record: r.Replay, _: Message) -> Row:
    _topic, partition, offset = record["letter"].rsplit("/", 2)
    return {
        "event_id": record["event_id"],
        "partition": int(partition),
        "offset": int(offset),
        "at": record["at"],
    }


@dataclass(frozen=True, slots=True)
class _Reader:
    table: Table
    codec: codec.Codec[Any]
    columns: Callable[[Any, Message], Row]


_READERS = {
    topics.LINK_STATUS.name: _Reader(t.link_status, codec.LINK_STATUS, _link_status),
    topics.LINK_EVENTS.name: _Reader(t.link_events, codec.LINK_EVENT, _link_event),
    topics.ORDERS.name: _Reader(t.orders, codec.ORDER_STATUS, _order),
    topics.ORDER_CLOSE.name: _Reader(t.order_close, codec.ORDER_CLOSE, _decision),
    topics.SETTLEMENT.name: _Reader(t.settlements, codec.SETTLEMENT, _decision),
    topics.ANOMALIES.name: _Reader(t.anomalies, codec.ANOMALY, _anomaly),
    topics.NOTICES.name: _Reader(t.notices, codec.NOTICE, _notice),
    topics.REPLAYS.name: _Reader(t.replays, codec.REPLAY, _replay),
}

# Everything the board reads.
TOPICS = (*_READERS, topics.DEAD_LETTERS.name)


def read(messages: Iterable[Message]) -> Batch:
    """The rows that the messages make. One that cannot be decoded becomes a row of `unreadable`."""
    batch = Batch()
    for message in messages:
        batch.positions[message.topic, message.partition] = message.offset + 1
        if message.topic == topics.DEAD_LETTERS.name:
            batch.add(t.dead_letters, _dead_letter(message))
            continue
        try:
            _read_avro(batch, message)
        except ValueError as error:  # BadRecord is one
            batch.add(t.unreadable, _unreadable(message, str(error)))
    return batch


def refused(message: Message, reason: str) -> Batch:
    """What to store of a message whose row the database does not take."""
    batch = Batch(positions={(message.topic, message.partition): message.offset + 1})
    batch.add(t.unreadable, _unreadable(message, reason))
    return batch


def _read_avro(batch: Batch, message: Message) -> None:
    reader = _READERS[message.topic]
    record = reader.codec.decode(message.value)
    batch.add(reader.table, {**reader.columns(record, message), "record": json.dumps(record)})
    if reader.table is t.link_status:
        batch.changes.append((message, record))
        for payment_id in record["payment_ids"]:
            place = {"provider": record["provider"], "link_id": record["link_id"]}
            batch.add(t.link_payments, {"payment_id": payment_id, **place})
    if reader.table is t.notices:
        _read_mark(batch, record)


def _read_mark(batch: Batch, record: r.Notice) -> None:
    mark = noting.mark_of(record)
    word = {"done": mark.done, "version": mark.at, "record": json.dumps(record)}
    if anomaly_id := noting.marked(record):
        batch.add(t.handled, {"anomaly_id": anomaly_id, **word})
    if place := noting.marked_letter(record):
        batch.add(t.aside, {"partition": place.partition, "offset": place.offset, **word})


def _place(message: Message) -> Row:
    return {
        "topic": message.topic,
        "partition": message.partition,
        "offset": message.offset,
        "at": message.timestamp * 1000,
        "key": message.key,
    }


def _unreadable(message: Message, reason: str) -> Row:
    return {**_place(message), "reason": reason, "size": len(message.value or b"")}


def _dead_letter(message: Message) -> Row:
    headers = [(name, value.decode(errors="replace")) for name, value in message.headers]
    named = dict(headers)
    return {
        **_place(message),
        "reason": named.get("reason", ""),
        "stage": named.get("stage", ""),
        "origin": named.get("origin", ""),
        "headers": json.dumps(headers),
        "body": message.value,
    }
