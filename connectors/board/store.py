"""The board's SQL store: SQLite or PostgreSQL through the same statements.

Writing the same records again, in any order, leaves the same rows: states are replaced only by a
higher version, events are kept as they came first, and of what is known by its place in a topic the
latest. Several may write to one PostgreSQL.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Insert, Table, create_engine, event, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    IntegrityError,
    NoSuchModuleError,
    SQLAlchemyError,
)

from connectors.board import migrate
from connectors.board import tables as t
from connectors.board.rows import Batch, Row

_INSERT: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
_BUSY_MS = 5000
_CACHE_KIB = 64 * 1024
_CHECKPOINT_PAGES = 16_000
# PostgreSQL: what is too large for an index or a row. The value's fault, and not the database's.
_LIMIT_EXCEEDED = "54"
# For libpq: a server whose machine has gone says nothing, and the system itself would wait for it
# for a quarter of an hour, or two hours where nothing was sent. Seconds; the last milliseconds.
_PATIENCE = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
_TROUBLES = (
    SQLAlchemyError,
    ImportError,
    OSError,
    OverflowError,
    UnicodeError,
    migrate.UnknownRevision,
)


class StoreUnavailable(Exception):
    """The database cannot be read or written; the message says why and what to look at."""


class RowRefused(Exception):
    """The database works but does not take these values."""


class Store:
    """Opens the database. Safe to use from several threads.

    Whoever writes brings the schema up to date; `upgrade` is False for those who only look.
    """

    def __init__(self, database_url: str, *, upgrade: bool = True) -> None:
        self._url = _parsed(database_url)
        with self._trouble():
            self.engine = _engine(self._url)
            try:
                if upgrade:
                    migrate.upgrade(self.engine)
            except BaseException:
                self.close()
                raise
        self._upserts = {table: self._upsert(table) for table in t.metadata.sorted_tables}

    def close(self) -> None:
        self.engine.dispose()

    def apply(self, batch: Batch) -> None:
        """Writes rows and positions in one transaction. Raises StoreUnavailable, RowRefused."""
        with self._trouble(), self.engine.begin() as connection:
            for table, upsert in self._upserts.items():
                if rows := batch.rows.get(table):
                    connection.execute(upsert, _one_a_key(table, rows))
            if batch.positions:
                self._set_positions(connection, batch.positions)

    def revision(self) -> str | None:
        """The revision of the database's schema; None before there is one."""
        with self.reading() as connection:
            return migrate.revision(connection)

    def positions(self) -> dict[tuple[str, int], int]:
        """The next offset to read, by topic and partition."""
        p = t.positions.c
        with self.reading() as connection:
            rows = connection.execute(select(p.topic, p.partition, p.next_offset))
            return {(topic, partition): offset for topic, partition, offset in rows}

    def start_over(self, positions: dict[tuple[str, int], int]) -> None:
        """Sets positions back because topics were made anew. Their versions count from 1 again, so
        what is stored must no longer hold newer rows off."""
        with self._trouble(), self.engine.begin() as connection:
            for table in (t.link_status, t.orders):
                connection.execute(update(table).values(version=0))
            self._set_positions(connection, positions)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection for queries."""
        with self._trouble(), self.engine.connect() as connection:
            yield connection

    def _set_positions(self, connection: Connection, positions: dict[tuple[str, int], int]) -> None:
        rows = [
            {"topic": topic, "partition": partition, "next_offset": offset}
            for (topic, partition), offset in sorted(positions.items())
        ]
        connection.execute(self._upserts[t.positions], rows)

    def _upsert(self, table: Table) -> Insert:
        insert: Any = _INSERT[self.engine.dialect.name](table)
        keys = [column.name for column in table.primary_key]
        newer_by = _newer_by(table)
        if newer_by is None and table is not t.positions:
            kept: Insert = insert.on_conflict_do_nothing(index_elements=keys)
            return kept
        new = insert.excluded
        replaced: Insert = insert.on_conflict_do_update(
            index_elements=keys,
            set_={c.name: new[c.name] for c in table.c if c.name not in keys},
            where=new[newer_by] > table.c[newer_by] if newer_by else None,
        )
        return replaced

    @contextmanager
    def _trouble(self) -> Iterator[None]:
        try:
            yield
        except _TROUBLES as error:
            if _is_refusal(error):
                raise RowRefused(_first_line(error)) from error
            where = self._url.render_as_string(hide_password=True)
            raise StoreUnavailable(
                f"the board's database {where} cannot be used: {_first_line(error)}; look at its "
                "rights, its disk and who else uses it, or change LINKSTATUS_DATABASE_URL"
            ) from error


def _newer_by(table: Table) -> str | None:
    """The column that says which of two rows of one key stays; None where it is the first."""
    if "version" in table.c:
        return "version"
    # Two records of one place in a topic: it was made anew in between.
    return "at" if table in (t.dead_letters, t.unreadable) else None


def _one_a_key(table: Table, rows: list[Row]) -> list[Row]:
    """The row that will stay of each key: the newest, or the first.

    In the order of keys: two that write the same rows then wait for each other in one direction,
    and neighbours in the index are written together.
    """
    keys, newer_by = [column.name for column in table.primary_key], _newer_by(table)
    kept: dict[tuple[Any, ...], Row] = {}
    for row in rows:
        other = kept.setdefault(tuple(row[key] for key in keys), row)
        if newer_by and row[newer_by] > other[newer_by]:
            kept[tuple(row[key] for key in keys)] = row
    return [kept[key] for key in sorted(kept)]


def _is_refusal(error: Exception) -> bool:
    """Whether it is the values that the database does not take."""
    if isinstance(error, DataError | IntegrityError | OverflowError | UnicodeError):
        return True
    code = getattr(error.orig, "sqlstate", None) if isinstance(error, DBAPIError) else None
    return str(code).startswith(_LIMIT_EXCEEDED)


def _first_line(error: Exception) -> str:
    # The cause alone: SQLAlchemy's own text repeats the statement with its values.
    return str(getattr(error, "orig", None) or error).strip().partition("\n")[0]


def _parsed(database_url: str) -> URL:
    try:
        url = make_url(database_url)
        kind = url.get_backend_name()
    except (ArgumentError, NoSuchModuleError) as error:
        raise StoreUnavailable("LINKSTATUS_DATABASE_URL is no database URL") from error
    if kind not in _INSERT:
        raise StoreUnavailable(f"LINKSTATUS_DATABASE_URL: {kind} is not sqlite or postgresql")
    if kind == "sqlite" and url.database in (None, "", ":memory:"):
        raise StoreUnavailable("LINKSTATUS_DATABASE_URL: SQLite needs a file")
    return url


def _engine(url: URL) -> Engine:
    if url.get_backend_name() != "sqlite":
        patience = _PATIENCE if url.get_driver_name().startswith("psycopg") else {}
        own = {name: value for name, value in patience.items() if name not in url.query}
        return create_engine(url, pool_pre_ping=True, connect_args=own)
    Path(str(url.database)).parent.mkdir(parents=True, exist_ok=True)
    # The connection used last first: its page cache is warm.
    engine = create_engine(url, pool_use_lifo=True)
    event.listen(engine, "connect", _set_up_sqlite)
    return engine


def _set_up_sqlite(connection: Any, _: Any) -> None:
    # WAL: reading goes on while a batch is written. NORMAL: a power cut may take the last batches,
    # with their positions, and they are read again.
    connection.execute(f"PRAGMA busy_timeout={_BUSY_MS}")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    # Rows come in no order of their keys: the indexes' pages should stay in memory, and not be
    # copied from the log into the file every few batches.
    connection.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
    connection.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")
