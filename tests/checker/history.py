"""A history: lines of JSON about what was acknowledged, what is on a cluster, what was read."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Place = tuple[str, int, int]

CALLBACKS = "callbacks."
LINKS, EVENTS, ROWS, LOOKUPS = "links", "link-events", "link-status", "lookups"
CLOSES, CORRECTIONS, SETTLEMENTS = "order-close", "order-corrections", "settlement"
UPDATES, ORDERS, ANOMALIES = "order-updates", "orders", "anomalies"
NOTICES, DEAD, REFUNDS = "notices", "dead-letters", "refunds"
PAYMENTS, PAYMENT_EVENTS = "payments", "payment-events"
# Those with values in Avro. Others are raw.
TYPED = (
    *(LINKS, EVENTS, ROWS, LOOKUPS, CLOSES, CORRECTIONS, SETTLEMENTS, UPDATES, ORDERS, ANOMALIES),
    *(NOTICES, REFUNDS, PAYMENTS, PAYMENT_EVENTS),
)
# They keep only the newest record of each key for certain.
COMPACTED = frozenset((LINKS, ROWS, ORDERS, PAYMENTS))
# A record of these that cannot be decoded is none of ours. The others are inputs and tables.
_NEVER_NULL = frozenset(TYPED) - COMPACTED - {UPDATES}


class BadHistory(ValueError):
    """A line is none of a history; the message names it."""


@dataclass(frozen=True, slots=True)
class Record:
    """A record of a topic. `value` is decoded, `body` the bytes of a raw one; a deleted row has
    neither.
    """

    line: int
    place: Place
    key: str | None
    at: int
    headers: Mapping[str, str]
    value: Any
    body: bytes | None
    outcome: str

    @property
    def origin(self) -> str:
        return "/".join(map(str, self.place))


@dataclass(frozen=True, slots=True)
class Connection:
    """An account at a provider, and the settings that decide about its links."""

    provider: str
    # lookup, self or registration: what names the order of a link.
    order_from: str
    # Whether a signature proves the provider, and not that the link is ours.
    shared_key: bool = False


@dataclass(slots=True)
class Reader:
    """`sees` is how it reads: see docs/checker.md. `reads` has lines with their numbers."""

    name: str
    topic: str
    sees: str
    reads: list[tuple[int, dict[str, Any]]] = field(default_factory=list)


# By the name of the connection, which is the provider's unless the history says otherwise.
_USUAL = {
    "ping": Connection("ping", "lookup"),
    "peach": Connection("peach", "self"),
    "truelayer": Connection("truelayer", "self", shared_key=True),
    "ipint": Connection("ipint", "self"),
}


@dataclass(slots=True)
class History:
    """`topics` has the committed records by topic, `unseen` those that no reader may see, by place.
    `starts` are the first offsets that are kept.
    """

    topics: dict[str, list[Record]] = field(default_factory=lambda: defaultdict(list))
    unseen: dict[Place, Record] = field(default_factory=dict)
    acknowledged: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    refused: dict[str, int] = field(default_factory=dict)
    readers: dict[tuple[str, str], Reader] = field(default_factory=dict)
    starts: dict[tuple[str, int], int] = field(default_factory=dict)
    connections: dict[str, Connection] = field(default_factory=lambda: dict(_USUAL))

    def raw(self) -> Iterator[Record]:
        """Yield the callbacks and the answers to lookups."""
        for topic, records in self.topics.items():
            if topic.startswith(CALLBACKS):
                yield from records

    def is_whole(self, topic: str) -> bool:
        """Whether nothing of the topic was deleted before the history was recorded."""
        return not any(start for (name, _), start in self.starts.items() if name == topic)

    def connection(self, name: str) -> Connection:
        return self.connections.get(name) or Connection("", "self")

    @property
    def ends_at(self) -> int:
        """The time of the last record, in microseconds."""
        return 1000 * max((r.at for records in self.topics.values() for r in records), default=0)


def read(texts: Iterable[str]) -> History:
    """Return the history in lines of JSON. Raises BadHistory."""
    return of(_parsed(number, text) for number, text in enumerate(texts, 1))


def _parsed(number: int, text: str) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads(text)
    except ValueError as error:
        raise BadHistory(f"line {number}: {error}") from None
    return document


def of(documents: Iterable[dict[str, Any]]) -> History:
    """Return the history in these lines. Raises BadHistory."""
    history = History()
    for number, document in enumerate(documents, 1):
        try:
            _add(history, number, document)
        except (KeyError, TypeError, ValueError) as error:
            raise BadHistory(f"line {number}: {error!r}") from error
    for records in history.topics.values():
        records.sort(key=lambda record: record.place)
    return history


def _add(history: History, number: int, line: dict[str, Any]) -> None:
    match line["type"]:
        case "record":
            record = _record(number, line)
            if record.outcome != "committed":
                history.unseen[record.place] = record
            elif record.value is not None or record.place[0] not in _NEVER_NULL:
                history.topics[record.place[0]].append(record)
        case "acknowledged":
            history.acknowledged.append((number, line))
        case "refused":
            history.refused[line["trace"]] = number
        case "reader":
            reader = Reader(line["reader"], line["topic"], line["sees"])
            history.readers[reader.name, reader.topic] = reader
        case "read":
            history.readers[line["reader"], line["topic"]].reads.append((number, line))
        case "partition":
            history.starts[line["topic"], line["partition"]] = line["start"]
        case "connection":
            settings = (line["provider"], line["order_from"], line["shared_key"])
            history.connections[line["name"]] = Connection(*settings)
        case other:
            raise ValueError(f"unknown type {other!r}")


def _record(number: int, line: dict[str, Any]) -> Record:
    body = line.get("body")
    return Record(
        number,
        (line["topic"], line["partition"], line["offset"]),
        line["key"],
        line["at"],
        line.get("headers", {}),
        line.get("value"),
        None if body is None else body.encode("latin-1"),
        line["outcome"],
    )
