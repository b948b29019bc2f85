"""The sandbox's memory, in SQLite: documents, callbacks and timers. It survives kill -9."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

from connectors.providers.simulator import Callback, Doc

_SCHEMA = """
CREATE TABLE IF NOT EXISTS documents (
    number INTEGER PRIMARY KEY, provider TEXT, kind TEXT, key TEXT, document TEXT,
    UNIQUE (provider, kind, key));
CREATE TABLE IF NOT EXISTS deliveries (
    number INTEGER PRIMARY KEY, provider TEXT, id TEXT, body BLOB, content_type TEXT, url TEXT,
    run TEXT, due INTEGER, attempts INTEGER DEFAULT 0, state TEXT DEFAULT 'pending',
    answer INTEGER);
CREATE INDEX IF NOT EXISTS deliveries_due ON deliveries (state, due);
CREATE INDEX IF NOT EXISTS deliveries_run ON deliveries (run, state);
CREATE TABLE IF NOT EXISTS timers (
    provider TEXT, key TEXT, at INTEGER, PRIMARY KEY (provider, key));
CREATE INDEX IF NOT EXISTS timers_at ON timers (at);
"""


class Delivery(NamedTuple):
    """A pending callback. `attempts` is the number of failed attempts."""

    number: int
    provider: str
    callback: Callback
    attempts: int


class Timer(NamedTuple):
    provider: str
    key: str


class Store:
    """One file for all providers. Only one thread may use it."""

    def __init__(self, path: Path | str) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        # In WAL mode, NORMAL loses data only if the machine fails, not if the process dies.
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.executescript(_SCHEMA)
        self._captured: list[Callback] | None = None

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit everything in the block, or nothing."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    @contextmanager
    def capture(self) -> Iterator[list[Callback]]:
        """Collect new callbacks in a list instead, so that the caller can schedule them."""
        self._captured = []
        try:
            yield self._captured
        finally:
            self._captured = None

    def of(self, provider: str) -> "ProviderState":
        return ProviderState(self, self._db, provider)

    def enqueue(self, provider: str, callback: Callback, due: int = 0, run: str = "") -> None:
        """Add a delivery that starts at `due`."""
        if self._captured is not None:
            self._captured.append(callback)
            return
        c = callback
        self._db.execute(
            "INSERT INTO deliveries (provider, id, body, content_type, url, run, due)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (provider, c.id, c.body, c.content_type, c.url, run, due),
        )

    def due(self, now: int, limit: int) -> list[Delivery]:
        """Return the deliveries that are due, the oldest first."""
        rows = self._db.execute(
            "SELECT number, provider, body, content_type, url, id, attempts FROM deliveries"
            " WHERE state = 'pending' AND due <= ? ORDER BY due, number LIMIT ?",
            (now, limit),
        )
        return [Delivery(row[0], row[1], Callback(*row[2:6]), row[6]) for row in rows]

    def next_due(self, now: int) -> int | None:
        """Return the time after `now` at which the next delivery or timer is due."""
        row = self._db.execute(
            "SELECT min(at) FROM (SELECT min(due) AS at FROM deliveries WHERE state = 'pending'"
            " AND due > :now UNION ALL SELECT min(at) FROM timers WHERE at > :now)",
            {"now": now},
        ).fetchone()
        return None if row[0] is None else int(row[0])

    def finish(
        self, number: int, state: Literal["delivered", "failed"], answer: int | None
    ) -> None:
        sql = (
            "UPDATE deliveries SET state = ?, answer = ?, attempts = attempts + 1 WHERE number = ?"
        )
        self._db.execute(sql, (state, answer, number))

    def retry(self, number: int, answer: int | None, due: int) -> None:
        sql = "UPDATE deliveries SET due = ?, answer = ?, attempts = attempts + 1 WHERE number = ?"
        self._db.execute(sql, (due, answer, number))

    def release(self, run: str, earlier_by: int) -> int:
        """Move the pending deliveries of a run to an earlier time. Return their number."""
        sql = "UPDATE deliveries SET due = due - ? WHERE run = ? AND state = 'pending'"
        return self._db.execute(sql, (earlier_by, run)).rowcount

    def counts(self, run: str | None = None) -> dict[str, int]:
        """Return the deliveries by state (pending, delivered, failed), of one run or of all."""
        rows = self._db.execute(
            "SELECT state, count(*) FROM deliveries WHERE :run IS NULL OR run = :run"
            " GROUP BY state",
            {"run": run},
        )
        return {"pending": 0, "delivered": 0, "failed": 0} | dict(rows.fetchall())

    def pop_timers(self, now: int) -> list[Timer]:
        """Remove and return the timers that are due."""
        rows = self._db.execute("DELETE FROM timers WHERE at <= ? RETURNING provider, key", (now,))
        return [Timer(*row) for row in rows.fetchall()]


class ProviderState:
    """One provider's part of the store (see `simulator.State`)."""

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

    def enqueue(self, callback: Callback) -> None:
        self._store.enqueue(self._provider, callback)

    def set_timer(self, key: str, at: int) -> None:
        self._db.execute("REPLACE INTO timers VALUES (?, ?, ?)", (self._provider, key, at))
