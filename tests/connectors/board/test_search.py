"""Indexes answer what a person searches for, on either database."""

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from sqlalchemy import event, text

from connectors.board.database import dead_letters, links, orders
from connectors.board.database import tables as t
from connectors.board.database.store import Store
from connectors.triage.dead_letter import Place
from connectors.triage.filter import Filter
from tests.connectors.board.conftest import EACH_DATABASE, PROVIDERS, NewDatabase
from tests.connectors.board.samples import Make, save

pytestmark = EACH_DATABASE
LINKS = 2_000
Statements = list[tuple[str, Any]]


@pytest.fixture
def full(new_database: NewDatabase, make: Make) -> Iterator[Store]:
    """A store with so many rows that the database prefers an index."""
    with closing(Store(new_database())) as store:
        statuses = [
            make.status(f"l-{n:05}", order_id=f"o-{n:05}", payment_ids=[f"p-{n:05}"])
            for n in range(LINKS)
        ]
        save(store, make.statuses(*statuses))
        rows = [
            {"provider": "ping", "order_id": f"o-{n:05}", "state": "OPEN", "changed_at": n}
            for n in range(LINKS)
        ]
        for row in rows:
            row["record"] = json.dumps(row)
        with store.engine.begin() as connection:
            insert = t.orders.insert().values(version=1)
            connection.execute(insert, rows)
            connection.execute(text("ANALYZE"))
        yield store


def found_links(store: Store, prefix: str) -> list[str]:
    page = links.search(store, {}, 50, prefix=prefix, providers=PROVIDERS)
    return [link["link_id"] for link in page.rows]


@contextmanager
def statements(store: Store) -> Iterator[Statements]:
    """Record the statements that run within, with their parameters."""
    ran: Statements = []

    def record(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        ran.append((statement, parameters))

    event.listen(store.engine, "before_cursor_execute", record)
    yield ran
    event.remove(store.engine, "before_cursor_execute", record)


def assert_no_table_scan(store: Store, ran: Statements) -> None:
    explain = "EXPLAIN " if store.engine.name == "postgresql" else "EXPLAIN QUERY PLAN "
    with store.reading() as connection:
        for statement, parameters in ran:
            plan = connection.exec_driver_sql(explain + statement, parameters).all()
            steps = [str(row[-1]).strip() for row in plan]
            assert not [step for step in steps if "Seq Scan" in step], steps
            # SQLite also scans the result of a subquery.
            assert not [s for s in steps if s.startswith("SCAN ") and "anon" not in s], steps


def assert_no_sort(store: Store, ran: Statements) -> None:
    explain = "EXPLAIN " if store.engine.name == "postgresql" else "EXPLAIN QUERY PLAN "
    with store.reading() as connection:
        for statement, parameters in ran:
            plan = str(connection.exec_driver_sql(explain + statement, parameters).all())
            assert not any(sign in plan for sign in ("Sort Key", "TEMP B-TREE")), plan


def test_search_by_prefix_scans_no_table(full: Store) -> None:
    with statements(full) as ran:
        assert [found_links(full, f"{kind}-0004") for kind in "lop"] == [
            [f"l-0004{n}" for n in reversed(range(10))]
        ] * 3
        (order,) = orders.search(full, {}, 50, prefix="o-00042", providers=PROVIDERS).rows
        assert order["order_id"] == "o-00042"
        some = links.search(full, {}, 50, prefix="l-0004", providers=PROVIDERS).rows
        assert len(orders.of_links(full, some)) == 10
    assert len(ran) == 6
    assert_no_table_scan(full, ran)


def test_search_for_one_character_is_bounded_and_says_so(full: Store) -> None:
    with statements(full) as ran:
        page = links.search(full, {}, 50, prefix="l", providers=PROVIDERS)
        assert (len(page.rows), page.capped) == (50, True)
        page = orders.search(full, {}, 50, prefix="o", providers=PROVIDERS)
        assert (len(page.rows), page.capped) == (50, True)
    assert all("LIMIT" in statement for statement, _ in ran)
    assert not links.search(full, {}, 5, prefix="l-0004", providers=PROVIDERS).capped


def test_filtered_orders_and_dead_letters_of_a_link_need_no_sort_and_no_scan(full: Store) -> None:
    full_of = [
        {"partition": 0, "offset": n, "at": n, "link_key": f"ping:l-{n}"} for n in range(LINKS)
    ]
    with full.engine.begin() as connection:
        texts = {"reason": "", "stage": "", "origin": "", "headers": "[]"}
        insert = t.dead_letters.insert().values(topic="dead-letters", **texts)
        connection.execute(insert, full_of)
        connection.execute(text("ANALYZE"))
    with statements(full) as ran:
        one = Filter(provider="ping", link_id="l-7")
        assert dead_letters.count(full, one, show="all") == 1
        for columns in ({"provider": "ping"}, {"state": "OPEN"}):
            assert len(orders.search(full, columns, 50).rows) == 50
        assert orders.search(full, {"provider": "peach", "state": "OPEN"}, 50).rows == []
    assert_no_table_scan(full, ran)
    assert_no_sort(full, ran)


def test_marks_of_dead_letters_are_found_by_place(full: Store) -> None:
    rows = [{"partition": n % 2, "offset": n, "version": n} for n in range(LINKS)]
    with full.engine.begin() as connection:
        record = '{"status": "resolved", "attributes": {}, "received_at": 7}'
        insert = t.dead_letter_marks.insert().values(resolved=True, record=record)
        connection.execute(insert, rows)
        connection.execute(text("ANALYZE"))
    with statements(full) as ran:
        marks = dead_letters.marks(full, [Place(0, 4), Place(1, 5), Place(1, 4)])
    assert {place: mark.at for place, mark in marks.items()} == {Place(0, 4): 7, Place(1, 5): 7}
    assert len(ran) == 1
    assert_no_table_scan(full, ran)


def test_prefix_is_case_sensitive_and_has_no_wildcards(full: Store) -> None:
    assert len(found_links(full, "l-00")) == 50
    for prefix in ("L-00042", "%", "_-00042", "l-00042\U0010ffff"):
        assert found_links(full, prefix) == []
