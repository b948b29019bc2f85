"""The database's schema, brought up to date by revisions: `migrations/versions`, one file each.

After a change of `tables.py`: `python -m connectors.board.migrate "what changed"` writes the next.
"""

import sys
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.pool import StaticPool

_SCRIPTS = Path(__file__).parent / "migrations"
# Any number that nobody else locks in this database.
_LOCK = 7_310_589_123_044


class UnknownRevision(Exception):
    """The database was made by a newer version of this program."""


def newest() -> str:
    """The revision this program works with."""
    return str(_scripts().get_current_head())


def revision(connection: Connection) -> str | None:
    """The database's revision; None for an empty one, or one made before there were revisions."""
    return MigrationContext.configure(connection).get_current_revision()


def upgrade(engine: Engine) -> None:
    """Brings the schema up to date, once, however many start at the same time.

    All of it happens in one transaction. A database that is up to date is only looked at: that
    needs no right to change its tables. Raises UnknownRevision.
    """
    with engine.connect() as connection:
        found = revision(connection)
    if found == newest():
        return
    if found not in {None, *(one.revision for one in _scripts().walk_revisions())}:
        raise UnknownRevision(
            f"its revision {found} is unknown here; a newer linkstatus has made it"
        )
    with engine.begin() as connection:
        _lock(connection)
        # Whoever waited for the lock finds nothing left to do.
        command.upgrade(config(connection), "head")


def _lock(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _LOCK})
    else:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def config(connection: Connection | None = None) -> Config:
    """What Alembic's own commands need, to be run on this connection."""
    config = Config()
    # Alembic reads it as an ini file would be, where % begins an interpolation.
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.set_main_option("file_template", "v%%(rev)s_%%(slug)s")
    config.attributes["connection"] = connection
    return config


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(config())


def write_revision(what: str) -> Path:
    """Writes the revision that leads from the newest one to `tables.py`, to be read and mended."""
    engine = create_engine("sqlite://", poolclass=StaticPool)
    upgrade(engine)
    with engine.connect() as connection:
        number = f"{int(newest()) + 1:04}"
        written = command.revision(config(connection), what, autogenerate=True, rev_id=number)
    engine.dispose()
    if written is None or isinstance(written, list):
        raise RuntimeError("Alembic wrote no revision")
    return Path(written.path)


if __name__ == "__main__":
    print(write_revision(sys.argv[1]))
