"""Compares the rebuilt records with those on the cluster."""

import hashlib
import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from connectors.clock import micros_of
from connectors.kafka.cluster import Cluster
from connectors.kafka.topic_reader import records
from schemas import topics
from schemas.codec import ORDER_CORRECTION, BadRecord, Codecs
from schemas.records import OrderCorrection

# Fields, at any depth, that depend on the order of arrival. Facts of several partitions meet in one
# order, and a close states what is known of its payments at that moment.
_OF_ARRIVAL: dict[str, frozenset[str]] = {
    "links": frozenset({"version", "changed_at"}),
    "orders": frozenset(
        {
            *("version", "changed_at", "decided_at", "settlements"),
            *("details_awaited_since", "correction_number"),
        }
    ),
    "closes": frozenset({"decided_at", "payment_id", "paid_at"}),
    "settlements": frozenset({"decided_at", "payment_ids"}),
    # The sums are those of the link at that moment.
    "refunds": frozenset({"at", "order_id", "refunded_minor", "disputed_minor", "net_minor"}),
}
# What is compared: its kind, its topic, and the field with the time that tells its age.
_COMPARED: tuple[tuple[str, topics.Topic[Any], str], ...] = (
    ("links", topics.LINK_STATUS, "first_seen_at"),
    ("orders", topics.ORDERS, "changed_at"),
    ("closes", topics.ORDER_CLOSE, "decided_at"),
    ("settlements", topics.SETTLEMENT, "decided_at"),
    ("refunds", topics.REFUNDS, "at"),
    ("link events", topics.LINK_EVENTS, "received_at"),
    ("anomalies", topics.ANOMALIES, "at"),
)
# Only their ids are compared: their texts name the first record that reported them.
_BY_ID = frozenset({"link events", "anomalies"})
# Whether a close went out before its amount depends on how long a worker was away, too.
_ANOMALIES_OF_TIMING = frozenset({"AMOUNT_UNKNOWN"})

# What names a record beside its key. Of a refund the last event counts: which ones came before
# depends on the order of arrival.
_NAMED_BY: Mapping[str, tuple[str, ...]] = {"refunds": ("kind", "refund_id")}
# Of these settlements the last one counts: an order that closes after its money was settled, as a
# detail came late, is confirmed at once.
_ONE_AFTER_ANOTHER = ("EXPECTED", "CONFIRMED")


class _Content(NamedTuple):
    """What is compared of a record: no digest for none, what tells its age, and when the record was
    written (microseconds).
    """

    name: str
    digest: bytes | None
    at: int | None
    written_at: int


# A database in a temporary file, which SQLite deletes: millions of records need no memory.
_ON_DISK = ""
_TABLE = """
    CREATE TABLE contents (side INT, name TEXT, digest BLOB, at INT, written_at INT,
    PRIMARY KEY (side, name)) WITHOUT ROWID
"""
_ADD = "REPLACE INTO contents VALUES (?, ?, ?, ?, ?)"
# What is before (0) and after (1), in the order of the names.
_BOTH = """
    SELECT names.name, b.digest, b.at, coalesce(b.written_at, 0), a.digest
    FROM (SELECT DISTINCT name FROM contents) names
    LEFT JOIN contents b ON b.side = 0 AND b.name = names.name
    LEFT JOIN contents a ON a.side = 1 AND a.name = names.name ORDER BY names.name
"""
# The latest correction of each close and settlement, by their event ids.
_Corrections = dict[str, OrderCorrection]


@dataclass(slots=True)
class Comparison:
    """How many records of one kind are the same, and the names of those that are not.

    `older` counts differences from before the inputs that are still kept: they cannot be rebuilt.
    `newer` counts differences of records that were written while the inputs were replayed.
    """

    kind: str
    same: int = 0
    older: int = 0
    newer: int = 0
    missing: list[str] = field(default_factory=list)
    added: list[str] = field(default_factory=list)
    different: list[str] = field(default_factory=list)

    @property
    def agrees(self) -> bool:
        return not (self.missing or self.added or self.different)


def compare(
    source: Cluster, target: Cluster, codecs: Codecs, now: int, kept_since: int | None
) -> list[Comparison]:
    """Compare the records under both prefixes. `now` and `kept_since` (microseconds) as of
    `Rebuild.run`.
    """
    comparisons = []
    corrections = [_corrections(cluster, codecs) for cluster in (source, target)]
    for kind, topic, time_field in _COMPARED:
        with closing(sqlite3.connect(_ON_DISK)) as database:
            database.execute(_TABLE)
            for side, cluster in enumerate((source, target)):
                contents = _contents(cluster, codecs, kind, topic, time_field, corrections[side])
                database.executemany(_ADD, ((side, *content) for content in contents))
            comparisons.append(_compare(kind, database, now, kept_since))
    return comparisons


def _corrections(cluster: Cluster, codecs: Codecs) -> _Corrections:
    latest: _Corrections = {}
    name = topics.ORDER_CORRECTIONS.name
    for message in records(cluster, name, from_beginning=True, exit_at_end=True):
        try:
            correction = codecs.decode(ORDER_CORRECTION, message.value())
        except BadRecord:
            # A foreign record: no agent reads this topic.
            continue
        for event_id in correction["corrects"]:
            if event_id not in latest or latest[event_id]["number"] <= correction["number"]:
                latest[event_id] = correction
    return latest


def _compare(
    kind: str, database: sqlite3.Connection, now: int, kept_since: int | None
) -> Comparison:
    comparison = Comparison(kind)
    for name, digest, at, written_at, rebuilt in database.execute(_BOTH):
        existing = _Content(name, digest, at, written_at)
        if existing.digest == rebuilt:
            comparison.same += rebuilt is not None
        elif existing.written_at >= now:
            comparison.newer += 1
        elif kept_since is not None and existing.at is not None and existing.at < kept_since:
            comparison.older += 1
        elif rebuilt is None:
            comparison.missing.append(name)
        elif existing.digest is None:
            comparison.added.append(name)
        else:
            comparison.different.append(name)
    return comparison


def _contents(
    cluster: Cluster,
    codecs: Codecs,
    kind: str,
    topic: topics.Topic[Any],
    time_field: str,
    corrections: _Corrections,
) -> Iterator[_Content]:
    """Yield the records of a topic. Of a compacted topic the last record of each key counts, of a
    close and a settlement the amounts as last corrected: when they became known depends on arrival.
    """
    schema: Any = topic.schema
    for message in records(cluster, topic.name, from_beginning=True, exit_at_end=True):
        name = (message.key() or b"").decode(errors="replace")
        written_at = micros_of(message.timestamp()[1])
        if message.value() is None:
            yield _Content(name, None, None, written_at)
            continue
        try:
            record = codecs.decode(schema, message.value())
        except BadRecord:
            # A foreign record that the next stage has dead-lettered.
            continue
        if record.get("kind") in _ANOMALIES_OF_TIMING:
            continue
        if topic.keep_ms is not None:
            name += _part(kind, record)
            record |= _corrected(record, corrections.get(record["event_id"]))
        digest = b"" if kind in _BY_ID else _digest(record, _OF_ARRIVAL[kind])
        yield _Content(name, digest, record[time_field], written_at)


def _part(kind: str, record: Mapping[str, Any]) -> str:
    """Return what names a record of this kind, behind its key."""
    if kind == "settlements" and record["kind"] in _ONE_AFTER_ANOTHER:
        return " " + " or ".join(_ONE_AFTER_ANOTHER)
    return "".join(f" {record[field]}" for field in _NAMED_BY.get(kind, ("event_id",)))


def _corrected(record: Mapping[str, Any], correction: OrderCorrection | None) -> dict[str, Any]:
    """Return the fields of a close or a settlement that the correction replaces."""
    if correction is None:
        return {}
    if "links" in record:
        total = {"total_minor": correction["total_minor"], "currency": correction["currency"]}
        return {"links": correction["links"], **total}
    return {"amount_minor": correction["total_minor"], "currency": correction["currency"]}


def _digest(record: Mapping[str, Any], of_arrival: frozenset[str]) -> bytes:
    content = _without(record, of_arrival)
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).digest()


def _without(value: Any, names: frozenset[str]) -> Any:
    if isinstance(value, Mapping):
        return {name: _without(v, names) for name, v in value.items() if name not in names}
    return [_without(item, names) for item in value] if isinstance(value, list) else value
