"""Marks: people resolve and reopen anomalies and dead letters; `notices` keeps the marks."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from confluent_kafka import Producer

from connectors.board import replays
from connectors.board.actions import marking
from connectors.board.database import anomalies, dead_letters
from connectors.board.database.projection import Message
from connectors.board.database.store import Store
from connectors.board.database.summary import summarize
from connectors.board.http.parameters import SHOWN
from connectors.clock import micros_now
from connectors.kafka import sync_producer
from connectors.kafka.cluster import Cluster
from connectors.kafka.sync_producer import NotAcknowledged
from connectors.triage import audit, resolution
from connectors.triage.audit import Mark
from connectors.triage.dead_letter import DeadLetter, Place
from connectors.triage.filter import Filter
from schemas import topics
from schemas.codec import ANOMALY, LINK_STATUS, NOTICE, REPLAY
from tests.connectors.board.conftest import (
    BEARER,
    BROWSER,
    EACH_DATABASE,
    NO_CLUSTER,
    OWN_PAGE,
    Site,
    client_of,
    config,
    following,
)
from tests.connectors.board.samples import AT, Make, save
from tests.support.codecs import CODECS
from tests.support.reading import read_all, write_all
from tests.support.waiting import PATIENCE, until

ANOMALIES, DEAD_LETTERS = "/anomalies", "/dead-letters"
ID = {ANOMALIES: {"event_id": "a1"}, DEAD_LETTERS: {"place": "0/0"}}
BOTH = pytest.mark.parametrize("path", [ANOMALIES, DEAD_LETTERS])


def dead_letter(offset: int = 0) -> DeadLetter:
    headers = (("reason", b"no JSON"), ("origin", b"callbacks.ping/0/7"))
    return DeadLetter(Place(0, offset), AT + 1000 * offset, b"ping:link-1", headers, b"x")


def mark_anomaly(make: Make, event_id: str, mark: Mark) -> Message:
    return make.message(topics.NOTICES, audit.anomaly_marked(make.anomaly(event_id), mark))


def mark_dead_letter(
    make: Make, offset: int = 0, *, resolved: bool = True, after: int = 0, note: str = ""
) -> Message:
    """`after`: how many microseconds later than the dead letter."""
    stored = dead_letter(offset)
    mark = Mark(resolved, "ada", stored.at + after, note)
    return make.message(topics.NOTICES, audit.dead_letter_marked(stored, mark))


def replay(make: Make, offset: int, after: int = 0) -> Message:
    stored = dead_letter(offset)
    record = {**make.replay(f"r{offset}-{after}", stored.place.name), "at": stored.at + after}
    return make.message(topics.REPLAYS, record)


@asynccontextmanager
async def following_site(cluster: Cluster, database_url: str) -> AsyncIterator[Site]:
    """A board that reads its topics, and that waits for its marks on a busy machine."""
    async with following(config(database_url, cluster)) as board, client_of(board) as client:
        await until(lambda: board.why_not() is None, "the board to follow")
        with pytest.MonkeyPatch.context() as patch:
            for module in (marking, replays):
                patch.setattr(module, "WAIT_SECONDS", PATIENCE)
            yield Site(board, client)


async def rows(site: Site, path: str, show: str = "all") -> list[Any]:
    answer = await site.get(f"{path}?show={show}")
    found: list[Any] = answer[path.removeprefix("/").replace("-", "_")]
    return found


async def ids(site: Site, path: str, show: str = "open") -> list[Any]:
    name = "event_id" if path == ANOMALIES else "offset"
    return sorted(row[name] for row in await rows(site, path, show))


async def until_shown(site: Site, path: str, show: str, expected: Sequence[Any]) -> None:
    async with asyncio.timeout(PATIENCE):
        while await ids(site, path, show) != expected:
            await asyncio.sleep(0.02)


# The list, the ids of its rows, the page of the first one, what the question about that one shows,
# and a filter that selects all.
KINDS: list[tuple[str, list[Any], str, list[str], dict[str, str]]] = [
    (
        *(ANOMALIES, ["a1", "a2", "a3"], "/links/ping/link-1"),
        ["Resolve 1 anomaly?", "received 1.00 of 12.34 EUR"],
        {"kind": "UNDERPAID"},
    ),
    (
        *(DEAD_LETTERS, [0, 1, 2], "/dead-letters/0/0"),
        ["Resolve 1 dead letter?", "forged"],
        {"reason": "FORG"},
    ),
]


@pytest.mark.kafka
@EACH_DATABASE
async def test_person_and_program_resolve_and_reopen(
    kafka: Cluster, database_url: str, make: Make, tmp_path: Path
) -> None:
    records = [make.anomaly("a1"), make.anomaly("a2"), make.anomaly("a3", "link-2")]
    write_all(kafka, "anomalies", [(b"ping:link-1", CODECS.encode(ANOMALY, r)) for r in records])
    write_all(kafka, "link-status", [(b"ping:link-1", CODECS.encode(LINK_STATUS, make.status()))])
    put(kafka, "forged", "forged", "forged")
    async with following_site(kafka, database_url) as site:
        for path, (first, *rest), page, question, others in KINDS:
            await until_shown(site, path, "open", [first, *rest])
            shown = await site.page(f"{path}/resolve?{urlencode(ID[path])}")
            for text in question:
                assert text in shown
            assert await site.get(f"{path}/resolve?{urlencode(others)}") == {"count": 3}
            assert await ids(site, path) == [first, *rest]  # the question changes nothing
            form = {**ID[path], "by": " Ada ", "note": "refunded", "back": page}
            answer = await site.client.post(f"{path}/resolve", data=form, headers=OWN_PAGE)
            assert (answer.status_code, answer.headers["location"]) == (303, page)
            assert await ids(site, path) == rest
            (row,) = await rows(site, path, "resolved")
            assert row["resolved"]["by"] == "Ada on the page, from 127.0.0.1"
            shown = await site.page(page, headers=BROWSER)
            assert "refunded" in shown
            assert "Reopen" in shown
            # A program resolves the rest, without what is resolved already.
            answer = await site.post(f"{path}/resolve", **others)
            assert answer == {"marked": 2, "remaining": 0}
            assert await ids(site, path) == []
            answer = await site.post(f"{path}/reopen", **ID[path])
            assert answer == {"marked": 1, "remaining": 0}
            assert await ids(site, path) == [first]
    notices = [CODECS.decode(NOTICE, message.value()) for message in read_all(kafka, "notices")]
    assert len({notice["event_id"] for notice in notices}) == 8
    assert {(notice["kind"], notice["provider"]) for notice in notices} == {
        ("anomaly_marked", "ping"),
        ("dead_letter_marked", "ping"),
    }
    # A new board learns it all from Kafka.
    async with following_site(kafka, f"sqlite:///{tmp_path / 'new.sqlite'}") as site:
        for path, (first, *rest), *_ in KINDS:
            await until_shown(site, path, "all", [first, *rest])
            await until_shown(site, path, "open", [first])


@pytest.mark.kafka
async def test_replay_leaves_out_what_is_resolved_unless_it_is_named(
    kafka: Cluster, database_url: str
) -> None:
    put(kafka, "forged", "forged", "unknown status")
    async with following_site(kafka, database_url) as site:
        await until_shown(site, DEAD_LETTERS, "open", [0, 1, 2])
        assert (await site.post(f"{DEAD_LETTERS}/resolve", reason="forged"))["marked"] == 2
        assert await site.get("/dead-letters/replay") == {"count": 1}
        for named in ({}, {"place": "0/1", "by": "bob"}):
            state = await site.post("/dead-letters/replay", **named)
            assert (state["chosen"], state["published"]) == (1, 1)
            assert (state["failed"], state["message"]) == (False, "1 published again")
        # The replay came after the mark.
        await until_shown(site, DEAD_LETTERS, "resolved", [0])
        assert await ids(site, DEAD_LETTERS) == []


def put(cluster: Cluster, *reasons: str) -> None:
    producer, topic = Producer(sync_producer.settings(cluster)), cluster.topic("dead-letters")
    origin = {"provider": "ping", "stage": "normalize", "origin": "callbacks.ping/0/7"}
    # Recent: the broker may delete what is older than the topic's retention at any time.
    for time, reason in enumerate(reasons, micros_now() // 1000 - len(reasons)):
        headers: dict[str, str | bytes | None] = {**origin, "reason": reason}
        producer.produce(
            *(topic, b"x", b"ping:link-1"), partition=0, headers=headers, timestamp=time
        )
    assert producer.flush(30) == 0


@EACH_DATABASE
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=str)
def test_latest_mark_counts_in_any_order_of_arrival(site: Site, order: tuple[int, ...]) -> None:
    make, store = site.make, site.store
    marks = [Mark(n != 1, "ada", AT + n, str(n)) for n in range(3)]
    save(store, [mark_anomaly(make, "a1", marks[n]) for n in order])
    save(store, [mark_dead_letter(make, resolved=n != 1, after=n, note=str(n)) for n in order])
    assert anomalies.marks(store, ["a1", "a2"]) == {"a1": marks[2]}
    site.put(topics.ANOMALIES, make.anomaly("a1"))
    site.put_dead_letters("forged")
    row = dead_letters.find(store, 0, 0)
    assert row is not None
    assert row["resolved"] == marks[2]
    summary = summarize(store, AT)
    assert (summary.anomalies, summary.dead_letters, summary.dead_letters_open) == ([], [], 0)


# What happened to each dead letter, and when.
HISTORIES = [
    [],
    [("resolve", 1)],
    [("resolve", 1), ("reopen", 2)],
    [("reopen", 1), ("resolve", 2)],
    [("resolve", 1), ("replay", 2)],
    [("replay", 1), ("resolve", 2)],
    [("replay", 1)],
    [("resolve", 1), ("replay", 2), ("resolve", 3)],
    [("resolve", 1), ("reopen", 2), ("replay", 3)],
]


@EACH_DATABASE
@pytest.mark.parametrize("backwards", [False, True])
def test_store_and_topics_agree_on_open_and_resolved_dead_letters(
    site: Site, backwards: bool
) -> None:
    make, store = site.make, site.store
    site.put_dead_letters(*("odd" for _ in HISTORIES))
    messages = [
        replay(make, offset, at)
        if what == "replay"
        else mark_dead_letter(make, offset, resolved=what == "resolve", after=at)
        for offset, history in enumerate(HISTORIES)
        for what, at in history
    ]
    save(store, messages[::-1] if backwards else messages)
    known = resolution.collect(
        [CODECS.decode(REPLAY, m.value) for m in messages if m.topic == "replays"],
        [CODECS.decode(NOTICE, m.value) for m in messages if m.topic == "notices"],
    )
    every = list(range(len(HISTORIES)))[::-1]
    is_open = [n for n in every if known.is_open(dead_letter(n))]
    resolved = [n for n in every if known.mark_of(dead_letter(n))]
    assert (is_open, resolved) == ([2, 0], [7, 5, 3, 1])
    assert [offsets(store, show) for show in SHOWN] == [is_open, resolved, every]
    found = dead_letters.search(store, Filter(), show="all", limit=100).rows
    assert [row["offset"] for row in found if row["resolved"]] == resolved
    assert summarize(store, AT).dead_letters_open == len(is_open)


def offsets(store: Store, show: str) -> list[int]:
    found = dead_letters.search(store, Filter(), show=show, limit=100).rows
    brief = dead_letters.search_without_bodies(store, Filter(), show=show, limit=100)
    numbers = [row["offset"] for row in found]
    assert numbers == [item.place.offset for item in brief]
    assert len(numbers) == dead_letters.count(store, Filter(), show=show)
    return numbers


async def test_no_callback_can_forge_a_mark(site: Site) -> None:
    make = site.make
    anomaly = audit.anomaly_marked(make.anomaly("a1"), Mark(True, "eve", AT))
    notice = audit.dead_letter_marked(dead_letter(), Mark(True, "eve", AT))
    cancel = {**make.notice("n2"), "kind": audit.CANCEL_REQUESTED, "provider": "ping"}
    forged: list[Any] = [
        {**anomaly, "origin": "callbacks.peach/0/1"},
        {**notice, "origin": "callbacks.peach/0/1"},
        {**notice, "kind": audit.ANOMALY_MARKED},
        {**notice, "subject_id": "dead-letters/x"},
        {**notice, "subject_id": "callbacks.ping/0/0"},
        {**notice, "subject_id": None},
        {**cancel, "subject_id": "link-1"},
    ]
    site.put(topics.ANOMALIES, make.anomaly("a1"))
    site.put_dead_letters("odd")
    site.put(topics.LINK_STATUS, make.status())
    site.put(topics.NOTICES, *forged)
    assert await ids(site, ANOMALIES) == ["a1"]
    assert await ids(site, DEAD_LETTERS) == [0]
    assert resolution.collect([], forged).marks == {}
    assert (await site.get("/links/ping/link-1"))["actions"] == []


async def test_link_named_like_a_dead_letter_has_no_marks(site: Site) -> None:
    """Anybody may send an unsigned callback for such a link."""
    site.put_dead_letters("odd")
    save(site.store, [mark_dead_letter(site.make)])
    site.put(topics.LINK_STATUS, site.make.status("dead-letters/0/0"))
    assert (await site.get("/links/ping/dead-letters/0/0"))["actions"] == []
    notices = await site.page("/notices")
    assert 'href="/dead-letters/0/0">dead-letters/0/0' in notices
    for text in ("dead letter marked</b> resolved", "by: ada", "reason: no JSON"):
        assert text in notices


async def test_list_shows_open_resolved_or_all(site: Site) -> None:
    make = site.make
    site.put_dead_letters("forged", "odd")
    save(site.store, [mark_dead_letter(make, 0, note="<b>scanner</b>")])
    assert 'href="/dead-letters/0/0"' not in await site.page(DEAD_LETTERS)
    narrowed = await site.page(f"{DEAD_LETTERS}?reason=odd")
    assert 'href="/dead-letters/resolve?reason=odd"' in narrowed
    resolved = await site.page(f"{DEAD_LETTERS}?show=resolved")
    assert 'href="/dead-letters/0/0"' in resolved
    for text in ('href="/dead-letters/0/1"', "Replay 1 …", "<b>scanner"):
        assert text not in resolved
    assert 'href="/dead-letters/0/1"' in await site.page(f"{DEAD_LETTERS}?show=all")
    wrong = await site.get(f"{DEAD_LETTERS}?show=done", 422)
    assert list(wrong["fields"]) == ["show"]
    assert [await ids(site, DEAD_LETTERS, show) for show in SHOWN] == [[1], [0], [0, 1]]
    site.put(topics.ANOMALIES, make.anomaly("a1"), make.anomaly("a2"))
    save(site.store, [mark_anomaly(make, "a2", Mark(True, "ada", AT + 1))])
    assert [await ids(site, ANOMALIES, s) for s in SHOWN] == [["a1"], ["a2"], ["a1", "a2"]]


async def test_anomalies_are_filtered_for_programs(site: Site) -> None:
    stale = {**site.make.anomaly("a2"), "kind": "STALE", "provider": "peach"}
    site.put(topics.ANOMALIES, site.make.anomaly("a1"), stale)
    for query, expected in (("kind=STALE", ["a2"]), ("provider=ping", ["a1"])):
        found = (await site.get(f"{ANOMALIES}?{query}"))["anomalies"]
        assert [row["event_id"] for row in found] == expected
    assert await site.get(f"{ANOMALIES}/resolve?provider=peach") == {"count": 1}
    for wrong, field in (("?kind=stale", "kind"), ("/resolve?until=soon", "until")):
        assert list((await site.get(f"{ANOMALIES}{wrong}", 422))["fields"]) == [field]


async def test_replayed_dead_letter_is_not_open(site: Site) -> None:
    site.put_dead_letters("odd")
    assert "Resolve it" in await site.page("/dead-letters/0/0", headers=BROWSER)
    save(site.store, [replay(site.make, 0)])
    assert await site.get(f"{DEAD_LETTERS}/resolve?place=0/0") == {"count": 0}
    answer = await site.post(f"{DEAD_LETTERS}/resolve", place="0/0")
    assert answer == {"marked": 0, "remaining": 0}
    shown = await site.page("/dead-letters/0/0", headers=BROWSER)
    assert "Resolve it" not in shown
    assert "ada" in shown
    assert "Nothing to replay" in await site.page("/dead-letters/replay")
    assert "dead-letters/0/0" not in await site.page("/dead-letters")
    assert "dead-letters/0/0" in await site.page("/dead-letters?show=all")


@pytest.mark.parametrize(
    ("path", "form", "field"),
    [
        (f"{ANOMALIES}/resolve", {"kind": "ODD"}, "kind"),
        (f"{ANOMALIES}/resolve", {"until": "soon"}, "until"),
        (f"{ANOMALIES}/resolve", {"by": 5}, "by"),
        (f"{ANOMALIES}/reopen", {}, "event_id"),
        (f"{DEAD_LETTERS}/resolve", {"place": "x"}, "place"),
        (f"{DEAD_LETTERS}/resolve", {"until": "soon"}, "until"),
        (f"{DEAD_LETTERS}/reopen", {}, "place"),
        (f"{DEAD_LETTERS}/reopen", {"reason": "x"}, "place"),
        *(
            (f"{path}/{action}", {"resaon": "x"}, "resaon")  # it would select everything
            for path, action in itertools.product((ANOMALIES, DEAD_LETTERS), ("resolve", "reopen"))
        ),
        (f"{DEAD_LETTERS}/replay", {"resaon": "x"}, "resaon"),
        (f"{DEAD_LETTERS}/replay", "reason=x", "body"),
        (f"{DEAD_LETTERS}/replay", None, "body"),
    ],
)
async def test_wrong_field_is_named_and_nothing_is_marked(
    site: Site, path: str, form: Any, field: str
) -> None:
    site.put(topics.ANOMALIES, site.make.anomaly("a1"))
    site.put_dead_letters("x")
    answer = await site.client.post(path, json=form, headers=BEARER)
    assert (answer.status_code, field in answer.json()["fields"]) == (422, True)
    if field == "resaon" and not path.endswith("/reopen"):
        assert list((await site.get(f"{path}?resaon=x", 422))["fields"]) == ["resaon"]
    assert (await ids(site, ANOMALIES), await ids(site, DEAD_LETTERS)) == (["a1"], [0])


@BOTH
async def test_mark_that_kafka_does_not_take_is_a_503(
    site: Site, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit.publish, "__defaults__", (0.2,))
    site.put(topics.ANOMALIES, site.make.anomaly("a1"))
    site.put_dead_letters("x")
    answer = await site.client.post(f"{path}/resolve", json=ID[path], headers=BEARER)
    assert (answer.status_code, "nothing is marked" in answer.json()["error"]) == (503, True)
    shown = await site.client.post(f"{path}/resolve", data=ID[path], headers=OWN_PAGE)
    assert (shown.status_code, "nothing is marked" in shown.text) == (503, True)
    assert f'href="{path}"' in shown.text
    assert len(await ids(site, path)) == 1
    with pytest.raises(NotAcknowledged):
        resolution.mark_all(NO_CLUSTER, CODECS, [dead_letter()], Mark(True, "ada", AT))


@BOTH
async def test_unknown_row_is_not_marked(site: Site, path: str) -> None:
    for action in ("resolve", "reopen"):
        assert await site.post(f"{path}/{action}", **ID[path]) == {"marked": 0, "remaining": 0}
