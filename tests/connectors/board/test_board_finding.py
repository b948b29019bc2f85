"""What a person searches for is found by indexes, on either database."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from sqlalchemy import event, text

from connectors.board import finding, queries
from connectors.board import tables as t
from connectors.board.keep import keep
from connectors.board.store import Store
from connectors.letters.letter import Place
from tests.connectors.board.conftest import EACH_DATABASE, PROVIDERS, NewDatabase
from tests.connectors.board.samples import Make

LINKS = 2_000


@pytest.fixture
def full(new_database: NewDatabase, make: Make) -> Iterator[Store]:
    """A store with more rows than one would look through."""
    with closing(Store(new_database())) as store:
        statuses = [
            make.status(f"l-{n:05}", order_id=f"o-{n:05}", payment_ids=[f"p-{n:05}"])
            for n in range(LINKS)
        ]
        keep(store, make.statuses(*statuses))
        orders = [
            {"provider": "ping", "order_id": f"o-{n:05}", "state": "OPEN", "changed_at": n}
            for n in range(LINKS)
        ]
        with store.engine.begin() as connection:
            insert = t.orders.insert().values(version=1, record='{"order_id": "o-00042"}')
            connection.execute(insert, orders)
            connection.execute(text("ANALYZE"))
        yield store


def links(store: Store, search: str) -> list[Any]:
    found = finding.links(store, {}, 50, None, search=search, providers=PROVIDERS)
    return [row["link_id"] for row in found.rows]


def orders(store: Store, search: str) -> list[Any]:
    found = finding.orders(store, {}, 50, None, search=search, providers=PROVIDERS)
    return [row["order_id"] for row in found.rows]


@EACH_DATABASE
def test_a_search_by_how_an_id_begins_looks_through_no_table(full: Store) -> None:
    with noted(full) as asked:
        assert [links(full, f"{kind}-0004") for kind in "lop"] == [
            [f"l-0004{n}" for n in reversed(range(10))]
        ] * 3
        assert orders(full, "o-00042") == ["o-00042"]
        some = finding.links(full, {}, 50, None, search="l-0004", providers=PROVIDERS).rows
        assert len(queries.order_states(full, some)) == 10
    assert len(asked) == 6
    looks_through_no_table(full, asked)


@EACH_DATABASE
def test_what_was_said_of_dead_letters_is_found_by_their_places(full: Store) -> None:
    rows = [{"partition": n % 2, "offset": n, "version": n} for n in range(LINKS)]
    with full.engine.begin() as connection:
        record = '{"status": "aside", "attributes": {}, "received_at": 7}'
        said = t.aside.insert().values(done=True, record=record)
        connection.execute(said, rows)
        connection.execute(text("ANALYZE"))
    with noted(full) as asked:
        found = queries.letter_marks(full, [Place(0, 4), Place(1, 5), Place(1, 4)])
    assert {place: mark.at for place, mark in found.items()} == {Place(0, 4): 7, Place(1, 5): 7}
    assert len(asked) == 1
    looks_through_no_table(full, asked)


@contextmanager
def noted(store: Store) -> Iterator[list[tuple[str, Any]]]:
    """The statements executed within, with their parameters."""
    asked: list[tuple[str, Any]] = []

    def note(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        asked.append((statement, parameters))

    event.listen(store.engine, "before_cursor_execute", note)
    yield asked
    event.remove(store.engine, "before_cursor_execute", note)


def looks_through_no_table(store: Store, asked: list[tuple[str, Any]]) -> None:
    explain = "EXPLAIN " if store.engine.name == "postgresql" else "EXPLAIN QUERY PLAN "
    with store.reading() as connection:
        for statement, parameters in asked:
            plan = connection.exec_driver_sql(explain + statement, parameters).all()
            steps = [str(row[-1]).strip() for row in plan]
            assert not [step for step in steps if "Seq Scan" in step], steps
            # SQLite also scans what a subquery found.
            assert not [s for s in steps if s.startswith("SCAN ") and "anon" not in s], steps


@EACH_DATABASE
@pytest.mark.parametrize("search", ["l-00", "L-00042", "%", "_-00042", "l-00042\U0010ffff"])
def test_case_and_wildcards_are_what_they_are(full: Store, search: str) -> None:
    assert len(links(full, search)) == (50 if search == "l-00" else 0)
