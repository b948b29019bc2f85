"""Connections to the board's database: SQLite or PostgreSQL."""

from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

# How long a statement waits for another connection's transaction, in milliseconds.
SQLITE_BUSY = "busy_timeout=5000"
_SQLITE_PRAGMAS = (
    SQLITE_BUSY,
    # WAL: queries go on while a batch is written. NORMAL: a power cut may lose the last batches
    # together with their positions, and the board reads them from Kafka again.
    "journal_mode=WAL",
    "synchronous=NORMAL",
    # Rows come in no order of their keys: 64 MiB keep the pages of the indexes in memory, and a
    # checkpoint does not copy them from the log into the file every few batches.
    f"cache_size=-{64 * 1024}",
    "wal_autocheckpoint=16000",
)
# For libpq. A server whose machine has gone sends nothing, and the operating system alone would
# wait a quarter of an hour for it, or two hours where the client sent nothing either. In seconds,
# the last in milliseconds.
_POSTGRES_TIMEOUTS = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}


class BadUrl(ValueError):
    """The setting of the database URL cannot work; the message says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"LINKSTATUS_DATABASE_URL: {reason}")


def parse_url(database_url: str) -> URL:
    """Return SQLAlchemy's URL of an SQLite file or a PostgreSQL database. Raises BadUrl."""
    try:
        url = make_url(database_url)
        kind = url.get_backend_name()
    except (ArgumentError, NoSuchModuleError) as error:
        raise BadUrl(
            "it is not a database URL: write sqlite:///FILE or postgresql+psycopg://HOST/DATABASE"
        ) from error
    if kind not in ("sqlite", "postgresql"):
        raise BadUrl(f"{kind} is not supported: use sqlite or postgresql")
    if kind == "sqlite" and url.database in (None, "", ":memory:"):
        raise BadUrl("SQLite needs a file: write sqlite:///FILE")
    return url


def open_engine(url: URL) -> Engine:
    """Return an engine whose connections are set up for the board. Raises BadUrl."""
    if url.get_backend_name() == "sqlite":
        return _sqlite(url)
    timeouts = _POSTGRES_TIMEOUTS if url.get_driver_name().startswith("psycopg") else {}
    defaults = {name: value for name, value in timeouts.items() if name not in url.query}
    try:
        return create_engine(url, pool_pre_ping=True, connect_args=defaults)
    except ModuleNotFoundError as error:
        raise BadUrl(
            f"{error.name} is not installed: install linkstatus[postgresql], and write "
            "postgresql+psycopg://HOST/DATABASE"
        ) from None


def _sqlite(url: URL) -> Engine:
    Path(str(url.database)).parent.mkdir(parents=True, exist_ok=True)
    # The pool hands out the connection that was used last: its page cache is warm.
    engine = create_engine(url, pool_use_lifo=True)
    event.listen(engine, "connect", _set_pragmas)
    return engine


def _set_pragmas(connection: Any, _: Any) -> None:
    for pragma in _SQLITE_PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
