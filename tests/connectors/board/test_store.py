"""The stored rows depend on no order and no repeat, and a bad record harms no other."""

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

from connectors.board.database import anomalies, dead_letters, links, projection
from connectors.board.database import tables as t
from connectors.board.database.projection import Message
from connectors.board.database.store import Store
from connectors.board.database.summary import summarize
from connectors.triage.audit import Mark, anomaly_marked, dead_letter_marked
from connectors.triage.dead_letter import DeadLetter, Place
from schemas import topics
from tests.connectors.board.conftest import EACH_DATABASE, NewDatabase, empty
from tests.connectors.board.samples import AT, Make, save
from tests.support.codecs import CODECS

pytestmark = EACH_DATABASE

DEAD_LETTER = DeadLetter(Place(0, 0), AT, None, (("reason", b"no JSON"),), b"no json")


def marks(make: Make) -> list[Message]:
    """An anomaly and a dead letter, each resolved and then reopened."""
    pair = [Mark(True, "ada", AT), Mark(False, "ada", AT + 1)]
    notices = [anomaly_marked(make.anomaly("a1"), mark) for mark in pair]
    notices += [dead_letter_marked(DEAD_LETTER, mark) for mark in pair]
    return [make.message(topics.NOTICES, notice) for notice in notices]


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
        make.message(topics.ORDER_CORRECTIONS, make.correction("k1", "o1", "c1")),
        make.message(topics.SETTLEMENT, make.settlement("s1", "o1", "EXPECTED")),
        make.message(topics.ANOMALIES, make.anomaly("a1")),
        make.message(topics.NOTICES, make.notice("n1")),
        *marks(make),
        make.message(topics.REFUSED_CALLBACKS, make.refused("token", 1)),
        make.message(topics.REFUSED_CALLBACKS, make.refused("token", 2)),
        make.message(topics.REPLAYS, make.replay("r1")),
        make.message(topics.RECONCILIATIONS, make.reconciled()),
        make.message(topics.RECONCILIATIONS, make.reconciled(differences=["o1"])),
        make.raw(topics.DEAD_LETTERS, b"no json", {"reason": "no JSON", "stage": "normalize"}),
        make.raw(topics.LINK_EVENTS, b"\x00broken"),
    ]


EVERYTHING = one_of_everything()


def contents(store: Store) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of all tables but the positions."""
    with store.reading() as connection:
        return {
            table.name: sorted(tuple(row) for row in connection.execute(select(table)))
            for table in t.metadata.sorted_tables
            if table is not t.positions
        }


def status(store: Store, link_id: str = "link-1") -> str | None:
    """The stored status of a link."""
    link = links.find(store, "ping", link_id)
    return link and link.status["status"]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=st.lists(st.sampled_from(EVERYTHING), max_size=20), data=st.data())
def test_any_order_with_repeats_leaves_same_rows(
    store: Store, before: list[Message], data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(EVERYTHING))
    empty(store)
    save(store, EVERYTHING)
    expected = contents(store)
    empty(store)
    for message in before:
        save(store, [message])
    save(store, shuffled)
    assert contents(store) == expected


def test_every_topic_makes_rows_that_outlive_a_restart(database_url: str) -> None:
    with closing(Store(database_url)) as store:
        save(store, EVERYTHING)
        before = contents(store)
    assert {name: len(rows) for name, rows in before.items()} == {
        "link_status": 2,
        "link_events": 1,
        "orders": 1,
        "order_close": 1,
        "order_corrections": 1,
        "settlements": 1,
        "anomalies": 1,
        "notices": 5,
        "anomaly_marks": 1,
        "dead_letter_marks": 1,
        "dead_letters": 1,
        "link_payments": 2,
        "refused_callbacks": 1,
        "replays": 1,
        "reconciliations": 1,
        "money": 4,
        "counted_rows": 4,
        "unreadable": 1,
    }
    assert {message.topic for message in EVERYTHING} == set(projection.TOPICS)
    with closing(Store(database_url)) as store:
        assert contents(store) == before


@pytest.mark.parametrize("batches", [[[2, 1]], [[2], [1]], [[0, 2, 1]]])
def test_highest_version_stays(store: Store, make: Make, batches: list[list[int]]) -> None:
    names = ["CREATED", "OPENED", "PAID"]
    for versions in batches:
        save(store, make.statuses(*(make.status(version=n, status=names[n]) for n in versions)))
    assert status(store) == "PAID"


@pytest.mark.parametrize("split", range(5))
def test_d3_forgotten_link_is_deleted_and_may_come_again(
    store: Store, make: Make, split: int
) -> None:
    new: dict[str, Any] = {"version": 1, "status": "PAID", "changed_at": AT + 2_000_000}
    messages = [
        make.message(topics.LINK_STATUS, make.status("other")),
        make.message(topics.LINK_EVENTS, make.event("old")),
        make.message(topics.LINK_STATUS, make.status(version=9)),
        make.message(topics.LINK_EVENTS, make.event("new", received_at=AT + 2_000_000)),
        replace(make.raw(topics.LINK_STATUS, None), timestamp=AT // 1000 + 1000),
        make.message(topics.LINK_STATUS, make.status(**new)),
    ]
    save(store, messages[: split + 1])
    save(store, messages[split + 1 : -1])
    assert (status(store), status(store, "other")) == (None, "CREATED")
    save(store, messages[-1:])
    assert status(store) == "PAID"
    assert [row[2] for row in contents(store)["link_events"]] == ["new"]
    assert contents(store)["unreadable"] == []


def test_repeated_event_stays_as_it_came_first(store: Store, make: Make) -> None:
    save(store, make.statuses(make.status()))
    first, repeat = make.event("e1", received_at=1), make.event("e1", received_at=2)
    save(store, [make.message(topics.LINK_EVENTS, event) for event in (first, repeat)])
    link = links.find(store, "ping", "link-1")
    assert link is not None
    assert link.events == [first]


def test_rows_and_positions_are_stored_together_or_not_at_all(store: Store, make: Make) -> None:
    batch = projection.project(CODECS, make.statuses(make.status()))
    batch.rows[t.positions] = [{"topic": None, "partition": 0, "next_offset": 1}]
    with pytest.raises(Exception, match=r"(?i)not.null"):
        store.apply(batch)
    assert store.positions() == {}
    assert status(store) is None
    save(store, make.statuses(make.status(), make.status("link-2")))
    assert store.positions() == {("link-status", 0): 3}


def test_broken_record_becomes_unreadable_and_others_are_stored(store: Store, make: Make) -> None:
    messages = make.statuses(make.status())
    messages.append(make.raw(topics.LINK_STATUS, b"\x00\x00\x00\x00\x01?"))
    messages += make.statuses(make.status("link-2"))
    save(store, messages)
    with store.reading() as connection:
        row = connection.execute(select(t.unreadable)).mappings().one()
    assert (row["topic"], row["offset"], row["size"]) == ("link-status", 1, 6)
    assert "schema id 1" in row["reason"]
    assert status(store, "link-2")
    assert store.positions() == {("link-status", 0): 3}


_REFUSE_A2 = {
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


def test_row_that_database_refuses_becomes_unreadable(
    kind: str, new_database: NewDatabase, make: Make
) -> None:
    with closing(Store(new_database())) as store:
        with store.engine.begin() as connection:
            for statement in _REFUSE_A2[kind]:
                connection.execute(text(statement))
        names = ("a1", "a2", "a3")
        save(store, [make.message(topics.ANOMALIES, make.anomaly(name)) for name in names])
        page = anomalies.search(store, {}, show="all", limit=9)
        assert [anomaly["event_id"] for anomaly, _ in page.rows] == ["a3", "a1"]
        with store.reading() as connection:
            assert connection.scalars(select(t.unreadable.c.reason)).all() == ["not that one"]
        assert store.positions() == {("anomalies", 0): 3}


def test_id_too_long_for_index_stops_nothing(store: Store, make: Make) -> None:
    """PostgreSQL calls it an operational error, as it does a lost connection."""
    incompressible = "".join(hashlib.sha256(bytes([n])).hexdigest() for n in range(200))
    save(store, make.statuses(make.status(incompressible), make.status("link-2")))
    assert status(store, "link-2")
    assert store.positions() == {("link-status", 0): 2}


def test_id_with_characters_that_no_database_takes_is_stored(store: Store, make: Make) -> None:
    save(store, make.statuses(make.status("a\x00b")))
    assert status(store, "a\x00b")
    assert links.find(store, "ping", "\ud800") is None


def test_two_boards_that_write_same_rows_do_not_deadlock(database_url: str, make: Make) -> None:
    """Two boards share one database while one replaces the other."""
    link_ids = [f"link-{n}" for n in range(300)]
    with closing(Store(database_url)) as one, closing(Store(database_url)) as other:

        def write(store: Store, order: Callable[[list[str]], list[str]]) -> None:
            for version in range(1, 6):
                some = (make.status(x, version=version) for x in order(link_ids))
                save(store, make.statuses(*some))

        with ThreadPoolExecutor(2) as pool:
            writes = [
                pool.submit(write, one, list),
                pool.submit(write, other, lambda some: some[::-1]),
            ]
            for future in writes:
                future.result()
        page = links.search(one, {}, 500)
    assert {row["link_id"]: row["version"] for row in page.rows} == dict.fromkeys(link_ids, 5)


def test_recreated_topic_is_not_held_off_by_old_versions(store: Store, make: Make) -> None:
    save(store, make.statuses(make.status(version=9, status="PAID")))
    store.start_over({("link-status", 0): 0}, {})
    assert store.positions() == {("link-status", 0): 0}
    save(store, make.statuses(make.status(version=1)))
    assert status(store) == "CREATED"


def test_dead_letter_of_recreated_topic_has_no_old_mark_or_replay(store: Store, make: Make) -> None:
    old = make.raw(topics.DEAD_LETTERS, b"x", {"reason": "forged"})
    new = replace(old, timestamp=old.timestamp + 60_000, headers=(("reason", b"unknown status"),))
    mark = dead_letter_marked(DEAD_LETTER, Mark(True, "ada", AT))
    save(store, [old, make.message(topics.NOTICES, mark)])
    save(store, [make.message(topics.REPLAYS, make.replay("r1"))])
    store.start_over({("dead-letters", 0): 0}, {})
    save(store, [new, old])
    row = dead_letters.find(store, 0, 0)
    assert row is not None
    assert (row["reason"], row["replays"], row["resolved"]) == ("unknown status", [], None)
    assert summarize(store, AT).dead_letters_open == 1


def test_old_events_are_forgotten_and_what_is_so_now_stays(
    new_database: NewDatabase, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connectors.board.database.store._EVENTS_AT_ONCE", 2)
    with closing(Store(new_database())) as store:
        events = [make.event(f"e{n}", received_at=AT + n) for n in range(7)]
        save(store, make.statuses(make.status()))
        save(store, [make.message(topics.LINK_EVENTS, event) for event in events])
        save(store, [make.message(topics.ANOMALIES, make.anomaly("a1", at=1))])
        parts = 1
        while store.forget_events(AT + 6):
            parts += 1
        assert parts == 3
        link = links.find(store, "ping", "link-1")
        assert link
        assert [event["event_id"] for event in link.events] == ["e6"]
        assert [anomaly["event_id"] for anomaly in link.anomalies] == ["a1"]
