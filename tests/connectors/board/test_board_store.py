"""What is stored depends on no order or repeat, and a bad record costs its neighbours nothing."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select, text

from connectors.board import queries, rows
from connectors.board import tables as t
from connectors.board.keep import keep
from connectors.board.rows import Message
from connectors.board.store import Store, StoreUnavailable
from schemas import topics
from tests.connectors.board.samples import Make


def contents(store: Store) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of all tables but the positions."""
    with store.reading() as connection:
        return {
            table.name: sorted(tuple(row) for row in connection.execute(select(table)))
            for table in t.metadata.sorted_tables
            if table is not t.positions
        }


@contextmanager
def fresh_store() -> Iterator[Store]:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(f"sqlite:///{folder}/board.sqlite")
        yield store
        store.close()


def one_of_everything() -> list[Message]:
    make = Make()
    return [
        *make.statuses(
            make.status(version=1),
            make.status(version=2, status="OPENED", changed_at=5),
            make.status(version=3, status="PAID", changed_at=9),
            make.status("link-2"),
        ),
        make.message(topics.LINK_EVENTS, make.event("e1")),
        make.message(topics.ORDERS, make.order("o1", version=1)),
        make.message(topics.ORDERS, make.order("o1", version=2, state="CLOSE_DECIDED")),
        make.message(topics.ORDER_CLOSE, make.close("c1", "o1")),
        make.message(topics.SETTLEMENT, make.settlement("s1", "o1", "EXPECTED")),
        make.message(topics.ANOMALIES, make.anomaly("a1")),
        make.message(topics.NOTICES, make.notice("n1")),
        make.raw(topics.DEAD_LETTERS, b"no json", {"reason": "no JSON", "stage": "normalize"}),
        make.raw(topics.LINK_EVENTS, b"\x00broken"),
    ]


EVERYTHING = one_of_everything()


@settings(deadline=None)
@given(st.lists(st.sampled_from(EVERYTHING), max_size=20), st.permutations(EVERYTHING))
def test_any_order_with_repeats_leaves_the_same_rows(
    before: list[Message], shuffled: list[Message]
) -> None:
    with fresh_store() as in_order, fresh_store() as disordered:
        keep(in_order, EVERYTHING)
        for message in before:
            keep(disordered, [message])
        keep(disordered, shuffled)
        assert contents(disordered) == contents(in_order)


def test_every_topic_read_makes_a_row(store: Store) -> None:
    keep(store, EVERYTHING)
    assert {name: len(found) for name, found in contents(store).items()} == {
        "link_status": 2,
        "link_events": 1,
        "orders": 1,
        "order_close": 1,
        "settlements": 1,
        "anomalies": 1,
        "notices": 1,
        "dead_letters": 1,
        "unreadable": 1,
    }
    assert {message.topic for message in EVERYTHING} == set(rows.TOPICS)


def test_a_lower_version_never_replaces_a_higher_one(store: Store, make: Make) -> None:
    keep(store, make.statuses(make.status(version=2, status="PAID")))
    keep(store, make.statuses(make.status(version=1, status="CREATED")))
    found = queries.link(store, "ping", "link-1")
    assert found is not None
    assert found.status["status"] == "PAID"


def test_an_event_that_repeats_is_kept_as_it_came_first(store: Store, make: Make) -> None:
    keep(store, make.statuses(make.status()))
    first, again = make.event("e1", received_at=1), make.event("e1", received_at=2)
    keep(store, [make.message(topics.LINK_EVENTS, event) for event in (first, again)])
    found = queries.link(store, "ping", "link-1")
    assert found is not None
    assert found.events == [first]


def test_positions_are_stored_with_the_rows(store: Store, make: Make) -> None:
    keep(store, make.statuses(make.status(), make.status("link-2")))
    assert store.positions() == {("link-status", 0): 2}


def test_rows_that_fail_take_their_positions_with_them(store: Store, make: Make) -> None:
    batch = rows.read(make.statuses(make.status()))
    batch.rows[t.positions] = [{"topic": None, "partition": 0, "next_offset": 1}]
    with pytest.raises(Exception, match="NOT NULL"):
        store.apply(batch)
    assert store.positions() == {}
    assert queries.link(store, "ping", "link-1") is None


def test_a_broken_record_is_kept_aside_and_its_neighbours_go_on(store: Store, make: Make) -> None:
    some = make.statuses(make.status())
    some.append(make.raw(topics.LINK_STATUS, b"\x00\x00\x00\x00\x01?"))
    some += make.statuses(make.status("link-2"))
    keep(store, some)
    with store.reading() as connection:
        aside = connection.execute(select(t.unreadable)).mappings().one()
    assert (aside["topic"], aside["offset"], aside["size"]) == ("link-status", 1, 6)
    assert "schema id 1" in aside["reason"]
    assert queries.link(store, "ping", "link-2") is not None
    assert store.positions() == {("link-status", 0): 3}


def test_a_row_the_database_refuses_is_kept_aside(store: Store, make: Make) -> None:
    with store.engine.begin() as connection:
        connection.execute(
            text(
                "CREATE TRIGGER picky BEFORE INSERT ON anomalies WHEN NEW.event_id = 'a2' "
                "BEGIN SELECT RAISE(ABORT, 'not that one'); END"
            )
        )
    some = [make.message(topics.ANOMALIES, make.anomaly(name)) for name in ("a1", "a2", "a3")]
    keep(store, some)
    assert [a["event_id"] for a in queries.anomalies(store, 9).rows] == ["a3", "a1"]
    with store.reading() as connection:
        assert connection.scalars(select(t.unreadable.c.reason)).all() == ["not that one"]
    assert store.positions() == {("anomalies", 0): 3}


def test_ids_with_characters_no_database_takes_are_stored(store: Store, make: Make) -> None:
    keep(store, make.statuses(make.status("a\x00b")))
    assert queries.link(store, "ping", "a\x00b") is not None
    assert queries.link(store, "ping", "\ud800") is None


def test_topics_made_anew_are_not_held_off_by_old_versions(store: Store, make: Make) -> None:
    keep(store, make.statuses(make.status(version=9, status="PAID")))
    store.start_over({("link-status", 0): 0})
    assert store.positions() == {("link-status", 0): 0}
    keep(store, make.statuses(make.status(version=1)))
    found = queries.link(store, "ping", "link-1")
    assert found is not None
    assert found.status["status"] == "CREATED"


def test_everything_is_still_there_after_reopening(database_url: str, make: Make) -> None:
    store = Store(database_url)
    keep(store, EVERYTHING)
    before = contents(store)
    store.close()
    again = Store(database_url)
    assert contents(again) == before
    again.close()


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
