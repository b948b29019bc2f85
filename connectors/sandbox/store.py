"""The sandbox's memory, in SQLite: documents, callbacks owed, alarms. It survives kill -9."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from connectors.sandbox.simulator import Callback, Doc

_SCHEMA = """
CREATE TABLE IF NOT EXISTS documents (
    number INTEGER PRIMARY KEY, provider TEXT, kind TEXT, key TEXT, document TEXT,
    UNIQUE (provider, kind, key));
CREATE TABLE IF NOT EXISTS deliveries (
    number INTEGER PRIMARY KEY, provider TEXT, id TEXT, body BLOB, content_type TEXT, url TEXT,
    play TEXT, due INTEGER, attempts INTEGER DEFAULT 0, state TEXT DEFAULT 'owed', answer INTEGER);
CREATE INDEX IF NOT EXISTS deliveries_due ON deliveries (state, due);
CREATE INDEX IF NOT EXISTS deliveries_play ON deliveries (play, state);
CREATE TABLE IF NOT EXISTS alarms (
    provider TEXT, key TEXT, at INTEGER, PRIMARY KEY (provider, key));
CREATE INDEX IF NOT EXISTS alarms_at ON alarms (at);
"""


class Delivery(NamedTuple):
    """A callback on its way. `attempts` counts those that failed."""

    number: int
    provider: str
    callback: Callback
    attempts: int


class Alarm(NamedTuple):
    provider: str
    key: str


class Store:
    """One file for all providers. Not for several threads."""

    def __init__(self, path: Path | str) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        # In WAL, NORMAL loses nothing when the process dies, only when the machine does.
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.executescript(_SCHEMA)
        self._captured: list[Callback] | None = None

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing of what is done within."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    @contextmanager
    def captured(self) -> Iterator[list[Callback]]:
        """Callbacks owed within are put in the list instead, for the caller to time."""
        self._captured = []
        try:
            yield self._captured
        finally:
            self._captured = None

    def of(self, provider: str) -> "ProviderState":
        """What this provider's simulator remembers."""
        return ProviderState(self, self._db, provider)

    def owe(self, provider: str, callback: Callback, due: int = 0, play: str = "") -> None:
        """The callback is to be delivered from `due` on."""
        if self._captured is not None:
            self._captured.append(callback)
            return
        self._db.execute(
            "INSERT INTO deliveries (provider, id, body, content_type, url, play, due)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                provider,
                callback.id,
                callback.body,
                callback.content_type,
                callback.url,
                play,
                due,
            ),
        )

    def due(self, now: int, limit: int) -> list[Delivery]:
        """Deliveries to be attempted now, the oldest first."""
        rows = self._db.execute(
            "SELECT number, provider, body, content_type, url, id, attempts FROM deliveries"
            " WHERE state = 'owed' AND due <= ? ORDER BY due, number LIMIT ?",
            (now, limit),
        )
        return [Delivery(row[0], row[1], Callback(*row[2:6]), row[6]) for row in rows]

    def next_due(self, now: int) -> int | None:
        """The next time after `now` at which a delivery or an alarm is due."""
        row = self._db.execute(
            "SELECT min(at) FROM (SELECT min(due) AS at FROM deliveries WHERE state = 'owed' AND"
            " due > :now UNION ALL SELECT min(at) FROM alarms WHERE at > :now)",
            {"now": now},
        ).fetchone()
        return None if row[0] is None else int(row[0])

    def delivered(self, number: int, answer: int) -> None:
        """The merchant has acknowledged it."""
        self._ended(number, answer, "delivered")

    def given_up(self, number: int, answer: int | None) -> None:
        """The last attempt has failed."""
        self._ended(number, answer, "given up")

    def _ended(self, number: int, answer: int | None, state: str) -> None:
        sql = (
            "UPDATE deliveries SET state = ?, answer = ?, attempts = attempts + 1 WHERE number = ?"
        )
        self._db.execute(sql, (state, answer, number))

    def retry(self, number: int, answer: int | None, due: int) -> None:
        """The attempt has failed; the next one is due then."""
        sql = "UPDATE deliveries SET due = ?, answer = ?, attempts = attempts + 1 WHERE number = ?"
        self._db.execute(sql, (due, answer, number))

    def release(self, play: str, earlier_by: int) -> int:
        """Moves what is still owed of a play to an earlier time; returns how many deliveries."""
        sql = "UPDATE deliveries SET due = due - ? WHERE play = ? AND state = 'owed'"
        return self._db.execute(sql, (earlier_by, play)).rowcount

    def counts(self, play: str | None = None) -> dict[str, int]:
        """Deliveries by state (owed, delivered, given up), of one play or of all."""
        rows = self._db.execute(
            "SELECT state, count(*) FROM deliveries WHERE :play IS NULL OR play = :play"
            " GROUP BY state",
            {"play": play},
        )
        return {"owed": 0, "delivered": 0, "given up": 0} | dict(rows.fetchall())

    def rung(self, now: int) -> list[Alarm]:
        """The alarms that are due; they ring once."""
        rows = self._db.execute("DELETE FROM alarms WHERE at <= ? RETURNING provider, key", (now,))
        return [Alarm(*row) for row in rows.fetchall()]


class ProviderState:
    """One provider's part of the store, as its simulator sees it (`simulator.State`)."""

    def __init__(self, store: Store, db: sqlite3.Connection, provider: str) -> None:
        self._store = store
        self._db = db
        self._provider = provider

    def get(self, kind: str, key: str) -> Doc | None:
        row = self._db.execute(
            "SELECT document FROM documents WHERE provider = ? AND kind = ? AND key = ?",
            (self._provider, kind, key),
        ).fetchone()
        document: Doc | None = json.loads(row[0]) if row else None
        return document

    def put(self, kind: str, key: str, doc: Doc) -> None:
        self._db.execute(
            "INSERT INTO documents (provider, kind, key, document) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (provider, kind, key) DO UPDATE SET document = excluded.document",
            (self._provider, kind, key, json.dumps(doc)),
        )

    def all(self, kind: str) -> list[Doc]:
        rows = self._db.execute(
            "SELECT document FROM documents WHERE provider = ? AND kind = ? ORDER BY number",
            (self._provider, kind),
        )
        return [json.loads(row[0]) for row in rows]

    def owe(self, callback: Callback) -> None:
        self._store.owe(self._provider, callback)

    def wake(self, key: str, at: int) -> None:
        self._db.execute("REPLACE INTO alarms VALUES (?, ?, ?)", (self._provider, key, at))
