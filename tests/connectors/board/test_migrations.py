"""Opening the database: its schema follows the program's, whichever process starts first."""

import re
import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Column, MetaData, Text, inspect, text

from connectors.board.database import engine, links, migrate
from connectors.board.database import tables as t
from connectors.board.database.engine import BadUrl
from connectors.board.database.store import Store, StoreUnavailable
from tests.connectors.board.conftest import EACH_DATABASE, NewDatabase
from tests.connectors.board.samples import Make, save
from tests.support.postgres import Postgres
from tests.support.waiting import PATIENCE

ROOT = Path(__file__).parents[3]
MIGRATIONS = ROOT / "connectors/board/database/migrations"


def differences(store: Store) -> list[object]:
    """Return how the schema of the database differs from `tables.py`."""
    with store.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        return list(compare_metadata(context, t.metadata))


@pytest.fixture
def extra_column(monkeypatch: pytest.MonkeyPatch) -> None:
    """`tables.py` has a column that no revision adds."""
    changed = MetaData()
    for table in t.metadata.sorted_tables:
        table.to_metadata(changed)
    changed.tables["notices"].append_column(Column("extra", Text))
    monkeypatch.setattr(t, "metadata", changed)


@EACH_DATABASE
def test_revisions_lead_to_tables(new_database: NewDatabase) -> None:
    with closing(Store(new_database())) as store:
        assert differences(store) == []
        assert store.revision() == migrate.newest()


@EACH_DATABASE
@pytest.mark.usefixtures("extra_column")
def test_changed_table_without_revision_is_found(new_database: NewDatabase) -> None:
    """The proof that the test above sees a difference."""
    with closing(Store(new_database())) as store:
        assert re.search(r"add_column.*extra", str(differences(store)))


def test_revisions_compare_same_columns_by_bytes(postgres: Postgres) -> None:
    """Alembic's comparison does not see collations."""
    with closing(Store(postgres.url(postgres.database()))) as store, store.reading() as connection:
        rows = connection.execute(
            text(
                "SELECT table_name, column_name FROM information_schema.columns "
                "WHERE table_schema = 'public' AND collation_name = 'C'"
            )
        )
        actual = {tuple(row) for row in rows}
        dialect = store.engine.dialect
    assert actual == {
        (table.name, column.name)
        for table in t.metadata.sorted_tables
        for column in table.c
        if getattr(column.type.dialect_impl(dialect), "collation", None) == "C"
    }


@EACH_DATABASE
def test_many_processes_that_start_at_once_make_one_schema(new_database: NewDatabase) -> None:
    url = new_database()
    with ThreadPoolExecutor(6) as pool:
        stores = list(pool.map(lambda _: Store(url), range(6)))
    assert {store.revision() for store in stores} == {migrate.newest()}
    assert differences(stores[0]) == []
    for store in stores:
        store.close()


def test_schema_made_by_another_process_is_awaited_longer_than_a_batch(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(engine, "_SQLITE_PRAGMAS", ("busy_timeout=1",))
    file = tmp_path / "board.db"
    with (
        closing(sqlite3.connect(file, isolation_level=None, check_same_thread=False)) as other,
        ThreadPoolExecutor(1) as pool,
    ):
        other.execute("BEGIN IMMEDIATE")
        waiting = pool.submit(Store, f"sqlite:///{file}")
        with pytest.raises(TimeoutError):
            waiting.result(0.3)
        other.execute("ROLLBACK")
        with closing(waiting.result(PATIENCE)) as store, store.reading() as connection:
            assert store.revision() == migrate.newest()
            assert connection.scalar(text("PRAGMA busy_timeout")) == 5000


@EACH_DATABASE
def test_failed_revision_leaves_nothing_behind(new_database: NewDatabase) -> None:
    url = new_database()
    with closing(Store(url, upgrade=False)) as store, store.engine.begin() as connection:
        # In the way of the last table of the first revision.
        connection.execute(text("CREATE VIEW unreadable AS SELECT 1 AS topic"))
    with pytest.raises(StoreUnavailable, match="cannot be used"):
        Store(url)
    with closing(Store(url, upgrade=False)) as store:
        assert store.revision() is None
        assert inspect(store.engine).get_table_names() == []


@EACH_DATABASE
def test_database_of_newer_program_is_refused(new_database: NewDatabase) -> None:
    url = new_database()
    with closing(Store(url)) as store, store.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreUnavailable, match="revision 9999 is unknown here, a newer linkstatus"):
        Store(url)


def test_up_to_date_database_needs_no_right_to_change_tables(
    postgres: Postgres, make: Make
) -> None:
    database = postgres.database()
    with closing(Store(postgres.url(database))) as store, store.engine.begin() as connection:
        role = f"writer_{database}"
        connection.execute(text(f"CREATE ROLE {role} LOGIN"))
        connection.execute(
            text(f"GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO {role}")
        )
    with closing(Store(postgres.url(database, role))) as store:
        save(store, make.statuses(make.status()))
        assert links.find(store, "ping", "link-1") is not None


@pytest.mark.parametrize(("query", "seconds"), [("", "10"), ("&connect_timeout=3", "3")])
def test_vanished_server_is_waited_for_seconds_only(
    postgres: Postgres, query: str, seconds: str
) -> None:
    """libpq has the timeouts and keeps them: no test here can cut a network."""
    url = postgres.url(postgres.database()) + query
    with closing(Store(url)) as store, store.reading() as connection:
        driver: Any = connection.connection.driver_connection
        parameters = driver.info.get_parameters()
    assert parameters["connect_timeout"] == seconds
    assert (parameters["keepalives_idle"], parameters["tcp_user_timeout"]) == ("30", "30000")


@pytest.mark.usefixtures("extra_column")
def test_new_revision_is_written_from_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(MIGRATIONS, tmp_path / "migrations")
    monkeypatch.setattr(migrate, "_SCRIPTS", tmp_path / "migrations")
    script = migrate.write_revision("notices have an extra")
    assert script.name == f"v{int(migrate.newest()):04}_notices_have_an_extra.py"
    assert re.search(r"add_column\(.*'extra'", script.read_text())
    with closing(Store(f"sqlite:///{tmp_path / 'board.sqlite'}")) as store:
        assert differences(store) == []


def test_locked_database_is_reported(database_url: str, make: Make) -> None:
    store = Store(database_url)
    with store.engine.connect() as other:
        other.execute(text("BEGIN IMMEDIATE"))
        with store.engine.connect() as impatient:
            impatient.execute(text("PRAGMA busy_timeout=10"))
        with pytest.raises(StoreUnavailable, match="database is locked"):
            save(store, make.statuses(make.status()))
    store.close()


def test_database_that_cannot_be_opened_is_reported(tmp_path: Path) -> None:
    (tmp_path / "board.sqlite").mkdir()
    with pytest.raises(StoreUnavailable, match=r"board\.sqlite cannot be used: unable to open"):
        Store(f"sqlite:///{tmp_path / 'board.sqlite'}")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("not a url", "it is not a database URL"),
        ("mysql://localhost/x", "mysql is not supported: use sqlite or postgresql"),
        ("sqlite://", "SQLite needs a file"),
    ],
)
def test_database_url_that_cannot_work_is_refused(url: str, reason: str) -> None:
    with pytest.raises(BadUrl, match=f"LINKSTATUS_DATABASE_URL: {reason}"):
        Store(url)


def test_database_password_is_not_shown() -> None:
    with pytest.raises(StoreUnavailable) as caught:
        Store("postgresql+psycopg://board:hunter2@127.0.0.1:1/board?connect_timeout=1")
    assert "hunter2" not in str(caught.value)
