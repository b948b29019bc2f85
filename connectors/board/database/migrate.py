"""The schema of the board's database, kept up to date by the revisions in `migrations/versions`.

After a change of `tables.py`, `python -m connectors.board.database.migrate "what changed"` writes
the next revision.
"""

import sys
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.pool import StaticPool

from connectors.board.database.engine import SQLITE_BUSY

_SCRIPTS = Path(__file__).parent / "migrations"
# Key of PostgreSQL's advisory lock: any number that no other program uses in this database.
_LOCK = 7_310_589_123_044
_SQLITE_PATIENT = "busy_timeout=60000"


class UnknownRevision(Exception):
    """A newer version of this program made the database."""


def newest() -> str:
    """Return the revision that this program works with."""
    return str(_scripts().get_current_head())


def revision(connection: Connection) -> str | None:
    """Return the revision of the database; None for an empty one."""
    return MigrationContext.configure(connection).get_current_revision()


def upgrade(engine: Engine) -> None:
    """Bring the schema up to date, once, also when several processes start at the same time.

    All revisions run in one transaction. A database that is up to date is only read: that needs no
    right to change its tables. Raises UnknownRevision.
    """
    with engine.connect() as connection:
        current = revision(connection)
    if current == newest():
        return
    if current not in {None, *(script.revision for script in _scripts().walk_revisions())}:
        raise UnknownRevision(
            f"its revision {current} is unknown here, a newer linkstatus made it: upgrade this one"
        )
    with engine.begin() as connection:
        _lock(connection)
        # A process that waited for the lock finds an up-to-date schema.
        command.upgrade(config(connection), "head")


def _lock(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _LOCK})
    else:
        # Others may make the schema now: on a busy machine that takes longer than any batch.
        connection.exec_driver_sql(f"PRAGMA {_SQLITE_PATIENT}")
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        connection.exec_driver_sql(f"PRAGMA {SQLITE_BUSY}")


def config(connection: Connection | None = None) -> Config:
    """Return the configuration of Alembic's commands, which then run on `connection`."""
    config = Config()
    # Alembic reads a value as an ini file has it, where % begins an interpolation.
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.set_main_option("file_template", "v%%(rev)s_%%(slug)s")
    config.attributes["connection"] = connection
    return config


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(config())


def write_revision(message: str) -> Path:
    """Write the revision that leads from the newest one to `tables.py`. A person then checks it."""
    engine = create_engine("sqlite://", poolclass=StaticPool)
    upgrade(engine)
    with engine.connect() as connection:
        number = f"{int(newest()) + 1:04}"
        script = command.revision(config(connection), message, autogenerate=True, rev_id=number)
    engine.dispose()
    if script is None or isinstance(script, list):
        raise RuntimeError("Alembic wrote no revision")
    return Path(script.path)


if __name__ == "__main__":
    print(write_revision(sys.argv[1]))
