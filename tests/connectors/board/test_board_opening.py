"""Opening the database: its schema follows the program's, whoever comes first and from when."""

import re
import shutil
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Column, MetaData, Text, create_engine, inspect, select, text

from connectors.board import migrate, queries
from connectors.board import tables as t
from connectors.board.keep import keep
from connectors.board.rows import read as rows_of
from connectors.board.store import Store, StoreUnavailable
from tests.connectors.board.conftest import EACH_DATABASE, NewDatabase
from tests.connectors.board.samples import Make
from tests.postgres import Postgres

BEFORE_REVISIONS = Path(__file__).with_name("before_revisions.sql")
ROOT = Path(__file__).parents[3]


def differences(store: Store) -> list[object]:
    """What the database's schema and the tables of the code differ in."""
    with store.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        return list(compare_metadata(context, t.metadata))


@EACH_DATABASE
def test_the_revisions_lead_to_the_tables_of_the_code(new_database: NewDatabase) -> None:
    with closing(Store(new_database())) as store:
        assert differences(store) == []
        assert store.revision() == migrate.newest()


def test_the_revisions_compare_the_same_columns_by_bytes(postgres: Postgres) -> None:
    """What alembic's comparison does not see."""
    with closing(Store(postgres.url(postgres.database()))) as store, store.reading() as connection:
        found = connection.execute(
            text(
                "SELECT table_name, column_name FROM information_schema.columns "
                "WHERE table_schema = 'public' AND collation_name = 'C'"
            )
        )
        actual = {tuple(row) for row in found}
        dialect = store.engine.dialect
    assert actual == {
        (table.name, column.name)
        for table in t.metadata.sorted_tables
        for column in table.c
        if getattr(column.type.dialect_impl(dialect), "collation", None) == "C"
    }


@EACH_DATABASE
def test_a_changed_table_without_a_revision_is_found(
    new_database: NewDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the test above stands on: it sees a column that no revision adds."""
    changed = t.notices.to_metadata(MetaData())
    changed.append_column(Column("extra", Text))
    monkeypatch.setattr(t, "metadata", changed.metadata)
    with closing(Store(new_database())) as store:
        found = str(differences(store))
    assert "add_column" in found
    assert "extra" in found


@EACH_DATABASE
def test_a_database_from_before_the_revisions_is_taken_over(
    kind: str, new_database: NewDatabase, make: Make
) -> None:
    url = new_database()
    as_it_was = BEFORE_REVISIONS.read_text()
    if kind == "sqlite":
        as_it_was = as_it_was.replace("BYTEA", "BLOB")
    engine = create_engine(url)
    with engine.begin() as connection:
        for statement in as_it_was.split(";\n"):
            connection.execute(text(statement)) if "CREATE" in statement else None
    engine.dispose()
    # As it was used: with rows, and read to some position.
    with closing(Store(url, upgrade=False)) as old:
        keep(old, make.statuses(make.status()))
    with closing(Store(url)) as store:
        assert (differences(store), store.revision()) == ([], migrate.newest())
        assert queries.link(store, "ping", "link-1") is not None
        assert store.positions() == {("link-status", 0): 1}


@EACH_DATABASE
def test_links_of_before_are_found_by_their_payments(new_database: NewDatabase, make: Make) -> None:
    url = new_database()
    engine = create_engine(url)
    with engine.begin() as connection:
        command.upgrade(migrate.config(connection), "0001")
    with closing(Store(url, upgrade=False)) as old, old.engine.begin() as connection:
        links = [make.status(f"link-{n}", payment_ids=[f"pay-{n}", "of both"]) for n in (1, 2)]
        rows = rows_of(make.statuses(*links, make.status("link-3"))).rows[t.link_status]
        connection.execute(t.link_status.insert(), rows)
    with closing(Store(url)) as store:
        with store.reading() as connection:
            found = {tuple(row) for row in connection.execute(select(t.link_payments))}
        assert differences(store) == []
    engine.dispose()
    own = {(f"pay-{n}", "ping", f"link-{n}") for n in (1, 2)}
    assert found == own | {("of both", "ping", f"link-{n}") for n in (1, 2)}


@EACH_DATABASE
def test_many_that_start_at_once_make_one_schema(new_database: NewDatabase) -> None:
    url = new_database()
    with ThreadPoolExecutor(6) as pool:
        stores = list(pool.map(lambda _: Store(url), range(6)))
    assert {store.revision() for store in stores} == {migrate.newest()}
    assert differences(stores[0]) == []
    for store in stores:
        store.close()


@EACH_DATABASE
def test_a_revision_that_fails_leaves_nothing_behind(
    new_database: NewDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = new_database()
    with closing(Store(url, upgrade=False)) as store, store.engine.begin() as connection:
        # In the way of the last table of the first revision.
        connection.execute(text("CREATE VIEW positions AS SELECT 1 AS topic"))
        connection.execute(text("CREATE TABLE anomalies (event_id INTEGER)"))
    with pytest.raises(StoreUnavailable, match="cannot be used"):
        Store(url)
    with closing(Store(url, upgrade=False)) as store:
        assert store.revision() is None
        assert set(inspect(store.engine).get_table_names()) == {"anomalies"}


@EACH_DATABASE
def test_a_database_of_a_newer_program_is_left_alone(new_database: NewDatabase) -> None:
    url = new_database()
    with closing(Store(url)) as store, store.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreUnavailable, match="revision 9999 is unknown here; a newer"):
        Store(url)


def test_an_up_to_date_database_needs_no_right_to_change_tables(
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
        keep(store, make.statuses(make.status()))
        assert queries.link(store, "ping", "link-1") is not None


def test_a_server_that_has_vanished_is_not_waited_for_for_long(postgres: Postgres) -> None:
    """Only said to its library, which keeps to it: no network can be cut here."""
    url = postgres.url(postgres.database())
    for given, seconds in ((url, "10"), (f"{url}&connect_timeout=3", "3")):
        with closing(Store(given)) as store, store.reading() as connection:
            driver: Any = connection.connection.driver_connection
            said = driver.info.get_parameters()
        assert said["connect_timeout"] == seconds
        assert (said["keepalives_idle"], said["tcp_user_timeout"]) == ("30", "30000")


def test_a_new_revision_is_written_from_the_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(ROOT / "connectors/board/migrations", tmp_path / "migrations")
    monkeypatch.setattr(migrate, "_SCRIPTS", tmp_path / "migrations")
    changed = MetaData()
    for table in t.metadata.sorted_tables:
        table.to_metadata(changed)
    changed.tables["notices"].append_column(Column("extra", Text))
    monkeypatch.setattr(t, "metadata", changed)
    written = migrate.write_revision("notices have an extra")
    assert written.name == f"v{int(migrate.newest()):04}_notices_have_an_extra.py"
    source = written.read_text()
    assert re.search(r"add_column\(.*'extra'", source)
    with closing(Store(f"sqlite:///{tmp_path / 'board.sqlite'}")) as store:
        assert differences(store) == []


@pytest.mark.slow
def test_the_wheel_carries_the_revisions(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    inside = set(zipfile.ZipFile(wheel).namelist())
    folder = ROOT / "connectors/board/migrations"
    files = {str(f.relative_to(ROOT)) for f in folder.rglob("*") if f.suffix in (".py", ".mako")}
    assert len(files) >= 3
    assert files <= inside


def test_a_locked_database_says_so(database_url: str, make: Make) -> None:
    store = Store(database_url)
    with store.engine.connect() as other:
        other.execute(text("BEGIN IMMEDIATE"))
        with store.engine.connect() as impatient:
            impatient.execute(text("PRAGMA busy_timeout=10"))
        with pytest.raises(StoreUnavailable, match="database is locked"):
            keep(store, make.statuses(make.status()))
    store.close()


def test_a_database_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "board.sqlite").mkdir()
    with pytest.raises(StoreUnavailable, match=r"board\.sqlite cannot be used: unable to open"):
        Store(f"sqlite:///{tmp_path / 'board.sqlite'}")


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("not a url", "is no database URL"),
        ("mysql://localhost/x", "mysql is not sqlite or postgresql"),
        ("sqlite://", "SQLite needs a file"),
    ],
)
def test_a_database_url_that_cannot_work_is_named(url: str, why: str) -> None:
    with pytest.raises(StoreUnavailable, match=why):
        Store(url)


def test_a_database_password_is_not_shown() -> None:
    with pytest.raises(StoreUnavailable) as caught:
        Store("postgresql+psycopg://board:hunter2@127.0.0.1:1/board?connect_timeout=1")
    assert "hunter2" not in str(caught.value)
