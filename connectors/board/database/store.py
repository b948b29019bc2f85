"""The board's SQL store: SQLite or PostgreSQL through the same statements.

Writing the same records again, in any order, leaves the same rows. A state is replaced only by a
higher version. Of two events with one id the first stays. Of two records of one place in a topic
the latest stays. Several processes may write to one PostgreSQL.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Insert, Table, bindparam, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError

from connectors.board.database import ledger, migrate
from connectors.board.database import tables as t
from connectors.board.database.engine import open_engine, parse_url
from connectors.board.database.projection import EVENTS, OF_LINKS, Batch, Row

_INSERT: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
# PostgreSQL's class of errors for a value that is too large for an index or a row.
_LIMIT_EXCEEDED = "54"
_ERRORS = (
    SQLAlchemyError,
    ImportError,
    OSError,
    OverflowError,
    UnicodeError,
    migrate.UnknownRevision,
)

# The most rows of one table that a transaction deletes, but for rows of the same microsecond.
_EVENTS_AT_ONCE = 5_000

# The rows of a link that is forgotten.
_FORGOTTEN = {
    table: (
        table.c.provider == bindparam("p"),
        table.c.link_id == bindparam("l"),
        table.c[time] < bindparam("at"),
    )
    for table, time in OF_LINKS.items()
}
_DELETIONS = [delete(table).where(*conditions) for table, conditions in _FORGOTTEN.items()]
_FIGURES = select(t.link_status.c.figures).where(*_FORGOTTEN[t.link_status])


class StoreUnavailable(Exception):
    """The board cannot use the database; the message says why and what to check."""


class RowRefused(Exception):
    """The database works but does not take these values."""


class Store:
    """An opened database. Safe to use from several threads.

    A process that writes brings the schema up to date. One that only reads passes `upgrade=False`.
    Raises BadUrl, StoreUnavailable.
    """

    def __init__(self, database_url: str, *, upgrade: bool = True) -> None:
        self._url = parse_url(database_url)
        with self._errors():
            self.engine = open_engine(self._url)
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
        """Write rows and positions in one transaction. Raises StoreUnavailable, RowRefused."""
        counted = bool(batch.forgotten or ledger.COUNTED.keys() & batch.rows.keys())
        with self._errors(), self.engine.begin() as connection:
            changes = ledger.Changes()
            if counted:
                ledger.take_turn(connection)
            if batch.forgotten:
                _forget(connection, batch.forgotten, changes)
            for table, upsert in self._upserts.items():
                if rows := batch.rows.get(table):
                    rows = _one_per_key(table, rows)
                    if table in ledger.COUNTED:
                        changes.replace(connection, table, rows)
                    connection.execute(upsert, rows)
            changes.apply(connection, self._upserts[t.money], self._upserts[t.counted_rows])
            if batch.positions:
                self._set_positions(connection, batch.positions, batch.topic_ids)

    def forget_events(self, before: int) -> bool:
        """Delete some of the events older than `before` (microseconds); return whether there may be
        more. States, decisions and anomalies stay. Raises StoreUnavailable.
        """
        more = False
        for table, time in EVENTS.items():
            at = table.c[time]
            some = select(at).where(at < before).order_by(at).offset(_EVENTS_AT_ONCE).limit(1)
            with self._errors(), self.engine.begin() as connection:
                later = connection.scalar(some)
                until = before if later is None else later + 1
                connection.execute(delete(table).where(at < until))
            more |= later is not None
        return more

    def revision(self) -> str | None:
        """Return the revision of the schema; None for an empty database."""
        with self.reading() as connection:
            return migrate.revision(connection)

    def positions(self) -> dict[tuple[str, int], int]:
        """Return the next offset to read by topic and partition."""
        p = t.positions.c
        with self.reading() as connection:
            rows = connection.execute(select(p.topic, p.partition, p.next_offset))
            return {(topic, partition): offset for topic, partition, offset in rows}

    def topic_ids(self) -> dict[tuple[str, int], str]:
        """Return the id that a topic had when its position was stored, by topic and partition."""
        p = t.positions.c
        with self.reading() as connection:
            rows = connection.execute(select(p.topic, p.partition, p.topic_id))
            return {(topic, partition): topic_id for topic, partition, topic_id in rows}

    def start_over(
        self, positions: dict[tuple[str, int], int], topic_ids: Mapping[str, str]
    ) -> None:
        """Set positions back after topics were recreated. Versions then restart at 1, so the stored
        versions are reset: they must not keep newer rows out.
        """
        with self._errors(), self.engine.begin() as connection:
            for table in (t.link_status, t.orders, t.reconciliations):
                connection.execute(update(table).values(version=0))
            self._set_positions(connection, positions, topic_ids)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open a connection for queries. Raises StoreUnavailable."""
        with self._errors(), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator["Store"]:
        """Open a store for reading whose content stays as it is now, for one thread at a time.
        Raises StoreUnavailable.
        """
        postgres = self.engine.dialect.name == "postgresql"
        options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        with self._errors(), self.engine.connect() as connection:
            if postgres:
                connection.execution_options(**options)
            else:
                # Python's driver begins no transaction for queries.
                connection.exec_driver_sql("BEGIN")
            yield _Snapshot(self, connection)

    def _set_positions(
        self,
        connection: Connection,
        positions: dict[tuple[str, int], int],
        topic_ids: Mapping[str, str],
    ) -> None:
        rows = [
            {
                "topic": topic,
                "partition": partition,
                "next_offset": offset,
                "topic_id": topic_ids.get(topic, ""),
            }
            for (topic, partition), offset in sorted(positions.items())
        ]
        connection.execute(self._upserts[t.positions], rows)

    def _upsert(self, table: Table) -> Insert:
        insert: Any = _INSERT[self.engine.dialect.name](table)
        if table is t.money:
            return ledger.upsert(insert)
        keys = [column.name for column in table.primary_key]
        newer_by = _newer_by(table)
        if newer_by is None and table is not t.positions:
            keep_first: Insert = insert.on_conflict_do_nothing(index_elements=keys)
            return keep_first
        new = insert.excluded
        replace: Insert = insert.on_conflict_do_update(
            index_elements=keys,
            set_={c.name: new[c.name] for c in table.c if c.name not in keys},
            where=new[newer_by] > table.c[newer_by] if newer_by else None,
        )
        return replace

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn the errors of the database into StoreUnavailable and RowRefused."""
        try:
            yield
        except _ERRORS as error:
            if _is_refusal(error):
                raise RowRefused(_first_line(error)) from error
            url = self._url.render_as_string(hide_password=True)
            raise StoreUnavailable(
                f"the board's database {url} cannot be used: {_first_line(error)}; check its "
                "rights, its disk and what else uses it, or change LINKSTATUS_DATABASE_URL"
            ) from error


class _Snapshot(Store):
    """A store whose queries all see the same moment."""

    def __init__(self, store: Store, connection: Connection) -> None:
        self._url, self.engine = store._url, store.engine
        self._connection = connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        with self._errors():
            yield self._connection


def _forget(
    connection: Connection, forgotten: Mapping[tuple[str, str], int], changes: ledger.Changes
) -> None:
    links = [{"p": p, "l": link, "at": at} for (p, link), at in forgotten.items()]
    for link in links:
        changes.remove((str(link["p"]), str(link["l"])), connection.scalars(_FIGURES, link))
    for deletion in _DELETIONS:
        connection.execute(deletion, links)


def _newer_by(table: Table) -> str | None:
    """Return the column that decides which of two rows of one key stays; None: the first stays."""
    if "version" in table.c:
        return "version"
    # Two records have one place in a topic only if the topic was recreated in between.
    return "at" if table in (t.dead_letters, t.unreadable) else None


def _one_per_key(table: Table, rows: list[Row]) -> list[Row]:
    """Return the row of each key that will stay: the newest, or the first.

    In the order of the keys: two processes that write the same rows then wait for each other in one
    direction only (no deadlock), and neighbours in the index are written together.
    """
    keys, newer_by = [column.name for column in table.primary_key], _newer_by(table)
    staying: dict[tuple[Any, ...], Row] = {}
    for row in rows:
        key = tuple(row[name] for name in keys)
        other = staying.setdefault(key, row)
        if newer_by and row[newer_by] > other[newer_by]:
            staying[key] = row
    return [staying[key] for key in sorted(staying)]


def _is_refusal(error: Exception) -> bool:
    """Return whether the database refuses the values, rather than being unavailable."""
    if isinstance(error, DataError | IntegrityError | OverflowError | UnicodeError):
        return True
    code = getattr(error.orig, "sqlstate", None) if isinstance(error, DBAPIError) else None
    return str(code).startswith(_LIMIT_EXCEEDED)


def _first_line(error: Exception) -> str:
    # Only the cause: SQLAlchemy's own text repeats the statement with its values.
    return str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
