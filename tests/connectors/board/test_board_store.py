"""What is stored depends on no order or repeat, and a bad record costs its neighbours nothing."""

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, text

from connectors.board import finding, queries, rows
from connectors.board import tables as t
from connectors.board.keep import keep
from connectors.board.lately import look
from connectors.board.rows import Message
from connectors.board.store import Store
from connectors.letters.letter import Letter, Place
from connectors.noting import Mark, of_letter, of_mark
from schemas import topics
from tests.connectors.board.conftest import EACH_DATABASE, NewDatabase, empty
from tests.connectors.board.samples import AT, Make

pytestmark = EACH_DATABASE


def contents(store: Store) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of all tables but the positions."""
    with store.reading() as connection:
        return {
            table.name: sorted(tuple(row) for row in connection.execute(select(table)))
            for table in t.metadata.sorted_tables
            if table is not t.positions
        }


JUNK = Letter(Place(0, 0), AT, None, (("reason", b"no JSON"),), b"no json")


def one_of_everything() -> list[Message]:
    make = Make()
    return [
        *make.statuses(
            make.status(version=1),
            make.status(version=2, status="OPENED", changed_at=5),
            make.status(version=3, status="PAID", changed_at=9),
            make.status("link-2", payment_ids=["p1", "p2"]),
        ),
        make.message(topics.LINK_EVENTS, make.event("e1")),
        make.message(topics.ORDERS, make.order("o1", version=1)),
        make.message(topics.ORDERS, make.order("o1", version=2, state="CLOSE_DECIDED")),
        make.message(topics.ORDER_CLOSE, make.close("c1", "o1")),
        make.message(topics.SETTLEMENT, make.settlement("s1", "o1", "EXPECTED")),
        make.message(topics.ANOMALIES, make.anomaly("a1")),
        make.message(topics.NOTICES, make.notice("n1")),
        *(
            make.message(topics.NOTICES, of_mark(make.anomaly("a1"), Mark(done, "ada", AT + n)))
            for n, done in enumerate((True, False))
        ),
        *(
            make.message(topics.NOTICES, of_letter(JUNK, Mark(done, "ada", AT + n)))
            for n, done in enumerate((True, False))
        ),
        make.message(topics.REPLAYS, make.replay("r1")),
        make.raw(topics.DEAD_LETTERS, b"no json", {"reason": "no JSON", "stage": "normalize"}),
        make.raw(topics.LINK_EVENTS, b"\x00broken"),
    ]


EVERYTHING = one_of_everything()


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=st.lists(st.sampled_from(EVERYTHING), max_size=20), data=st.data())
def test_any_order_with_repeats_leaves_the_same_rows(
    database_url: str, before: list[Message], data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(EVERYTHING))
    with closing(Store(database_url)) as store:
        empty(store)
        keep(store, EVERYTHING)
        expected = contents(store)
        empty(store)
        for message in before:
            keep(store, [message])
        keep(store, shuffled)
        assert contents(store) == expected


def test_every_topic_read_makes_a_row(store: Store) -> None:
    keep(store, EVERYTHING)
    assert {name: len(found) for name, found in contents(store).items()} == {
        "link_status": 2,
        "link_events": 1,
        "orders": 1,
        "order_close": 1,
        "settlements": 1,
        "anomalies": 1,
        "notices": 5,
        "handled": 1,
        "aside": 1,
        "dead_letters": 1,
        "link_payments": 2,
        "replays": 1,
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
    with pytest.raises(Exception, match=r"(?i)not.null"):
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


def noticed(store: Store) -> list[Any]:
    found = finding.anomalies(store, {}, fresh=False, limit=9, after=None)
    return [anomaly for anomaly, _ in found.page.rows]


_PICKY = {
    "sqlite": [
        "CREATE TRIGGER picky BEFORE INSERT ON anomalies WHEN NEW.event_id = 'a2' "
        "BEGIN SELECT RAISE(ABORT, 'not that one'); END"
    ],
    "postgresql": [
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN RAISE check_violation USING MESSAGE = ''not that one''; END'",
        "CREATE TRIGGER picky BEFORE INSERT ON anomalies FOR EACH ROW "
        "WHEN (NEW.event_id = 'a2') EXECUTE FUNCTION refuse()",
    ],
}


def test_a_row_the_database_refuses_is_kept_aside(
    kind: str, new_database: NewDatabase, make: Make
) -> None:
    with closing(Store(new_database())) as store:
        with store.engine.begin() as connection:
            for statement in _PICKY[kind]:
                connection.execute(text(statement))
        some = [make.message(topics.ANOMALIES, make.anomaly(name)) for name in ("a1", "a2", "a3")]
        keep(store, some)
        assert [a["event_id"] for a in noticed(store)] == ["a3", "a1"]
        with store.reading() as connection:
            assert connection.scalars(select(t.unreadable.c.reason)).all() == ["not that one"]
        assert store.positions() == {("anomalies", 0): 3}


def test_an_id_too_long_for_an_index_stops_nothing(store: Store, make: Make) -> None:
    """PostgreSQL calls it an operational error, as it does a lost connection."""
    incompressible = "".join(hashlib.sha256(bytes([n])).hexdigest() for n in range(200))
    keep(store, make.statuses(make.status(incompressible), make.status("link-2")))
    assert queries.link(store, "ping", "link-2") is not None
    assert store.positions() == {("link-status", 0): 2}


def test_the_highest_version_of_a_batch_stays(store: Store, make: Make) -> None:
    versions = [(2, "OPENED"), (3, "PAID"), (1, "CREATED")]
    keep(store, make.statuses(*(make.status(version=n, status=s) for n, s in versions)))
    found = queries.link(store, "ping", "link-1")
    assert found is not None
    assert found.status["status"] == "PAID"


def test_two_that_write_the_same_rows_do_not_stop_each_other(database_url: str, make: Make) -> None:
    """Two boards on one database, as while one replaces the other: no deadlock, nothing lost."""
    links = [f"link-{n}" for n in range(300)]
    with closing(Store(database_url)) as one, closing(Store(database_url)) as other:

        def write(store: Store, order: Callable[[list[str]], list[str]]) -> None:
            for version in range(1, 6):
                keep(store, make.statuses(*(make.status(x, version=version) for x in order(links))))

        with ThreadPoolExecutor(2) as pool:
            writing = [
                pool.submit(write, one, list),
                pool.submit(write, other, lambda some: some[::-1]),
            ]
            for each in writing:
                each.result()
        found = finding.links(one, {}, 500, None)
    assert {row["link_id"]: row["version"] for row in found.rows} == dict.fromkeys(links, 5)


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


def test_of_topics_made_anew_a_dead_letter_is_another_than_the_one_of_its_place(
    store: Store, make: Make
) -> None:
    old = make.raw(topics.DEAD_LETTERS, b"x", {"reason": "forged"})
    new = replace(old, timestamp=old.timestamp + 60_000, headers=(("reason", b"unknown status"),))
    aside = of_letter(Letter(Place(0, 0), AT, None, (), b"x"), Mark(True, "ada", AT))
    keep(store, [old, make.message(topics.NOTICES, aside)])
    keep(store, [make.message(topics.REPLAYS, make.replay("r1"))])
    store.start_over({("dead-letters", 0): 0})
    keep(store, [new, old])
    found = finding.letter(store, 0, 0)
    assert found is not None
    assert (found["reason"], found["replays"], found["aside"]) == ("unknown status", [], None)
    assert look(store, AT).letters_open == 1


def test_everything_is_still_there_after_reopening(database_url: str, make: Make) -> None:
    store = Store(database_url)
    keep(store, EVERYTHING)
    before = contents(store)
    store.close()
    again = Store(database_url)
    assert contents(again) == before
    again.close()
