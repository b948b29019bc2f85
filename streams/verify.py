"""Checks what is on the topics: each acknowledged callback has had its effect, each close and each
settlement is there once, and each decision has its reason.

Everything goes into a database in a temporary file, so that millions of records need no memory.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from confluent_kafka import Message

from connectors.clock import micros_of
from connectors.kafka.cluster import Cluster
from connectors.kafka.topic_reader import records
from connectors.providers import raw
from connectors.providers.base import Provider
from connectors.triage import audit
from schemas import topics
from schemas.codec import BadRecord, Codecs
from schemas.headers import headers_of
from schemas.records import Notice
from streams.agents.agent import text_headers

# The names in that notice: a notice is small. The command names every difference.
_NAMED = 20
# SQLite deletes this database at its end.
_ON_DISK = ""

_TABLES = """
CREATE TABLE callbacks (
    origin TEXT PRIMARY KEY, topic TEXT, part INT, place INT, source TEXT, at INT
) WITHOUT ROWID;
CREATE TABLE effects (origin TEXT PRIMARY KEY, topic TEXT, part INT, place INT) WITHOUT ROWID;
CREATE TABLE ids (event_id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE kept (topic TEXT, part INT, place INT, PRIMARY KEY (topic, part));
CREATE TABLE known (link TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE proven (link TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE links (link TEXT PRIMARY KEY, status TEXT, first_at INT, written_at INT);
CREATE TABLE orders (name TEXT PRIMARY KEY, state TEXT, decided_at INT, written_at INT);
CREATE TABLE closes (event_id TEXT PRIMARY KEY, name TEXT, at INT);
CREATE TABLE closed (name TEXT, link TEXT, PRIMARY KEY (name, link)) WITHOUT ROWID;
CREATE TABLE settlements (event_id TEXT PRIMARY KEY, name TEXT, kind TEXT, at INT);
CREATE INDEX callbacks_place ON callbacks (topic, part, place);
CREATE INDEX effects_place ON effects (topic, part, place);
CREATE INDEX closes_name ON closes (name);
CREATE INDEX settlements_name ON settlements (name, kind);
"""
# What is wrong, and the query that names each case. Since `:since` all records are kept; what was
# written after `:now` may be read without what it follows from.
_CHECKS = {
    "a link event whose callback is missing": """
        SELECT e.origin FROM effects e LEFT JOIN callbacks c USING (origin)
        LEFT JOIN kept k ON k.topic = e.topic AND k.part = e.part
        WHERE c.origin IS NULL AND e.topic LIKE 'callbacks.%' AND e.place >= coalesce(k.place, 0)
        AND e.place <=
            (SELECT max(place) FROM callbacks r WHERE r.topic = e.topic AND r.part = e.part)""",
    "a link without an event": """
        SELECT link FROM links LEFT JOIN known USING (link)
        WHERE known.link IS NULL AND status IS NOT NULL AND first_at >= :since
        AND written_at < :now""",
    "a proven link event without its link": """
        SELECT link FROM proven LEFT JOIN links USING (link) WHERE links.link IS NULL""",
    "an order that closed more than once": """
        SELECT name FROM closes GROUP BY name HAVING count(*) > 1""",
    "a close without its order": """
        SELECT DISTINCT name FROM closes LEFT JOIN orders USING (name) WHERE decided_at IS NULL""",
    "a decided order without its close": """
        SELECT name FROM orders WHERE decided_at >= :since AND written_at < :now
        AND name NOT IN (SELECT name FROM closes)""",
    "a close with a link that is not paid": """
        SELECT name || ', link ' || link FROM closed LEFT JOIN links USING (link)
        WHERE status IS NOT 'PAID'""",
    "an order that settled more than once": """
        SELECT name || ', ' || kind FROM settlements GROUP BY name, kind HAVING count(*) > 1""",
    "a settlement without a close": """
        SELECT DISTINCT name FROM settlements s
        WHERE at >= :since AND name NOT IN (SELECT name FROM closes)""",
    "a settled order without its confirmation": """
        SELECT name FROM orders WHERE state = 'SETTLED' AND decided_at >= :since
        AND written_at < :now
        AND name NOT IN (SELECT name FROM settlements WHERE kind = 'CONFIRMED')""",
}
_NO_EFFECT = "an acknowledged callback without an effect"
# Callbacks without a record that has them as origin, of the time since when all are kept.
_UNSEEN = """
    FROM callbacks c LEFT JOIN effects USING (origin)
    WHERE effects.origin IS NULL AND c.at >= :since"""
# Behind the last record with an effect, the worker may not have been yet.
_READ_TO = (
    "coalesce((SELECT max(place) FROM effects e WHERE e.topic = c.topic AND e.part = c.part), -1)"
)
_SUSPECTS = f"""
    CREATE TABLE suspects (origin TEXT PRIMARY KEY, topic TEXT, is_read INTEGER) WITHOUT ROWID;
    INSERT INTO suspects SELECT c.origin, c.topic, c.place <= {_READ_TO} {_UNSEEN};"""
_SUSPECT = "SELECT is_read FROM suspects WHERE origin = ?"


class Difference(NamedTuple):
    """What is wrong, and with which record, link or order."""

    what: str
    name: str


@dataclass(slots=True)
class Verification:
    """`counts` by name; `waiting` callbacks are not processed yet."""

    counts: dict[str, int]
    differences: list[Difference] = field(default_factory=list)

    def notice(self, by: str, at: int) -> Notice:
        """Return the notice of this result; `at` in microseconds."""
        named = "; ".join(f"{what}: {name}" for what, name in self.differences[:_NAMED])
        attributes = {name: str(count) for name, count in self.counts.items()}
        attributes |= {"by": by, "differences": str(len(self.differences)), "named": named}
        status = "differs" if self.differences else "agrees"
        provider, subject, kind = audit.VERIFIED
        return audit.action(kind, provider, subject, status, at, attributes)


def verify(
    cluster: Cluster,
    codecs: Codecs,
    providers: Mapping[str, Provider],
    now: int,
    advance: Callable[[int], None] = lambda _: None,
) -> Verification:
    """Read the topics and return what differs; `now` in microseconds. Call `advance` with how many
    more records are read. Raises NoSuchTopic, KafkaException.
    """
    with closing(sqlite3.connect(_ON_DISK)) as database:
        database.executescript(_TABLES)
        check = _Check(cluster, codecs, providers, database, now, advance)
        check.read_callbacks()
        check.read_results()
        lost, waiting = check.without_effect()
        differences = [*(Difference(_NO_EFFECT, name) for name in lost), *check.differences()]
        return Verification(check.counts(waiting), differences)


class _Check:
    def __init__(
        self,
        cluster: Cluster,
        codecs: Codecs,
        providers: Mapping[str, Provider],
        database: sqlite3.Connection,
        now: int,
        advance: Callable[[int], None],
    ) -> None:
        self._cluster, self._codecs, self._providers = cluster, codecs, providers
        self._database, self._advance = database, advance
        self._since, self._now = 0, now

    def read_callbacks(self) -> None:
        for provider in self._providers:
            topic = topics.callbacks(provider).name
            self._add("callbacks", 6, (_callback(topic, m) for m in self._messages(topic)))

    def read_results(self) -> None:
        """Read each topic before those that its records need: these only grow meanwhile."""
        self._add_each("link-events", self._link_event)
        self._add_each("notices", self._with_origin)
        for message in self._messages(topics.DEAD_LETTERS.name):
            self._effect(text_headers(headers_of(message)).get("origin", ""))
        self._add_each("payments", self._payment)
        self._add_each("settlement", self._settlement)
        self._add_each("order-close", self._close)
        self._add_each("orders", self._order)
        self._add_each("link-status", self._link)

    def counts(self, waiting: int) -> dict[str, int]:
        """Return how many records there are, and how many callbacks wait for the worker."""
        count = "SELECT count(*) FROM "
        queries = {
            "callbacks": count + "callbacks WHERE source = 'callback'",
            "answers": count + "callbacks WHERE source <> 'callback'",
            "links": count + "links WHERE status IS NOT NULL",
            "closes": count + "closes",
            "settlements": count + "settlements",
        }
        counts = {name: self._database.execute(q).fetchone()[0] for name, q in queries.items()}
        return {**counts, "waiting": waiting}

    def differences(self) -> Iterator[Difference]:
        """Yield what disagrees, but for callbacks without an effect."""
        for what, query in _CHECKS.items():
            for (name,) in self._database.execute(query, self._times()):
                yield Difference(what, name)

    def _times(self) -> dict[str, int]:
        return {"since": self._since, "now": self._now}

    def without_effect(self) -> tuple[list[str], int]:
        """Return callbacks that left no trace, although their body says something new: those that
        the worker has read, and how many more it may not have read yet.
        """
        lost, waiting = [], 0
        self._database.executescript(_SUSPECTS.replace(":since", str(self._since)))
        of_topics = self._database.execute("SELECT DISTINCT topic FROM suspects").fetchall()
        for (topic,) in of_topics:
            provider = self._providers[topic.partition(".")[2]]
            for message in records(self._cluster, topic, from_beginning=True, exit_at_end=True):
                origin = _place(topic, message)[0]
                suspect = self._database.execute(_SUSPECT, (origin,)).fetchone()
                if suspect and not self._is_known(provider, origin, message):
                    if suspect[0]:
                        lost.append(origin)
                    else:
                        waiting += 1
        return lost, waiting

    def _is_known(self, provider: Provider, origin: str, message: Message) -> bool:
        """Whether every fact in the callback is there, from another one that says the same."""
        headers = text_headers(headers_of(message))
        at = message.timestamp()[1]
        try:
            facts = provider.read(
                raw.read(provider.name, message.value() or b"", headers, origin, at)
            )
        except ValueError:  # it has to be a dead letter
            return False
        events = [
            *facts.events,
            *(p["event"] for p in facts.payments if p["event"]),
            *facts.notices,
        ]
        return all(self._has("ids", "event_id", one["event_id"]) for one in events)

    def _has(self, table: str, column: str, value: str) -> bool:
        query = f"SELECT 1 FROM {table} WHERE {column} = ?"  # noqa: S608
        return self._database.execute(query, (value,)).fetchone() is not None

    def _messages(self, topic: str) -> Iterator[Message]:
        """Yield the records of a topic, and note where they begin."""
        begun: set[int] = set()
        for message in records(self._cluster, topic, from_beginning=True, exit_at_end=True):
            number, offset = message.partition() or 0, message.offset() or 0
            if number not in begun:
                begun.add(number)
                self._add("kept", 3, [(topic, number, offset)])
                if offset > 0 and topic in _EXPIRING:
                    self._since = max(self._since, micros_of(message.timestamp()[1]))
            self._advance(1)
            yield message

    def _add_each(self, name: str, add: Callable[[Any, Message], None]) -> None:
        """Add each record that can be read; the others are dead letters. None for a deletion."""
        schema: Any = _SCHEMAS[name]
        for message in self._messages(name):
            value = message.value()
            try:
                record = None if value is None else self._codecs.decode(schema, value)
            except BadRecord:
                continue
            add(record, message)

    def _add(self, table: str, width: int, rows: Iterable[tuple[Any, ...]]) -> None:
        marks = ", ".join("?" * width)
        self._database.executemany(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", rows)  # noqa: S608

    def _effect(self, origin: str) -> None:
        topic, _, place = origin.partition("/")
        part, _, offset = place.partition("/")
        if part.isdecimal() and offset.isdecimal():
            self._add("effects", 4, [(origin, topic, int(part), int(offset))])

    def _with_origin(self, record: Any, _: Message | None = None) -> None:
        if record is not None:
            self._effect(record["origin"])
            self._add("ids", 1, [(record["event_id"],)])

    def _link_event(self, event: Any, _: Message) -> None:
        self._with_origin(event)
        link = _name(event, "link_id")
        self._add("known", 1, [(link,)])
        if event["verified"] and event["source"] in ("registration", "lookup", "poll", "import"):
            self._add("proven", 1, [(link,)])

    def _payment(self, row: Any, _: Message) -> None:
        for event in row["waiting"] if row else ():
            self._with_origin(event)

    def _link(self, row: Any, message: Message) -> None:
        name, at = (
            (message.key() or b"").decode(errors="replace"),
            micros_of(message.timestamp()[1]),
        )
        # A link that nothing vouches for is forgotten.
        values = (row["status"], row["first_seen_at"]) if row else (None, 0)
        self._add("links", 4, [(name, *values, at)])

    def _order(self, row: Any, message: Message) -> None:
        if row is not None:
            values = row["state"], row["decided_at"], micros_of(message.timestamp()[1])
            self._add("orders", 4, [(_name(row, "order_id"), *values)])

    def _close(self, close: Any, _: Message) -> None:
        name = _name(close, "order_id")
        self._add("closes", 3, [(close["event_id"], name, close["decided_at"])])
        links = ((name, f"{close['provider']}:{link['link_id']}") for link in close["links"])
        self._add("closed", 2, links)

    def _settlement(self, one: Any, _: Message) -> None:
        values = one["event_id"], _name(one, "order_id"), one["kind"], one["decided_at"]
        self._add("settlements", 4, [values])


_SCHEMAS = {
    topic.name: topic.schema
    for topic in (
        *(topics.LINK_EVENTS, topics.NOTICES, topics.PAYMENTS, topics.LINK_STATUS),
        *(topics.ORDERS, topics.ORDER_CLOSE, topics.SETTLEMENT),
    )
}
# Of these topics Kafka deletes what is old.
_EXPIRING = frozenset(
    topic.name
    for topic in (
        *(topics.LINK_EVENTS, topics.NOTICES, topics.DEAD_LETTERS),
        *(topics.ORDER_CLOSE, topics.SETTLEMENT),
    )
)


def _place(topic: str, message: Message) -> tuple[str, str, int, int]:
    number, offset = message.partition() or 0, message.offset() or 0
    return f"{topic}/{number}/{offset}", topic, number, offset


def _callback(topic: str, message: Message) -> tuple[Any, ...]:
    source = text_headers(headers_of(message)).get("source", "")
    return *_place(topic, message), source, micros_of(message.timestamp()[1])


def _name(record: Mapping[str, Any], id_: str) -> str:
    return f"{record['provider']}:{record[id_]}"
