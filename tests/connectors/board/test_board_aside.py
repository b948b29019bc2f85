"""A dead letter is set aside: it needs nobody any more, with who and when on a topic; and is taken
back.
"""

import asyncio
import itertools
from pathlib import Path
from typing import Any

import httpx
import pytest
from confluent_kafka import Producer

from connectors import noting, producing
from connectors.board import finding
from connectors.board.asking import LETTERS_SHOWN
from connectors.board.keep import keep
from connectors.board.lately import look
from connectors.board.rows import Message
from connectors.board.store import Store
from connectors.clock import micros_now
from connectors.kafka import Cluster
from connectors.letters import dealt
from connectors.letters.letter import Letter, Place, Wanted
from connectors.noting import Mark
from connectors.producing import NotTaken
from schemas import topics
from schemas.codec import NOTICE, REPLAY
from tests.connectors.board.conftest import EACH_DATABASE
from tests.connectors.board.samples import AT, Make
from tests.connectors.board.test_board_anomalies import (
    BEARER,
    BROWSER,
    FORGED,
    OWN_PAGE,
    following,
)
from tests.reading import read_all
from tests.waiting import PATIENCE

ASIDE = "/dead-letters/aside"
OPEN = "/dead-letters/open"
TOLD = {"provider": "ping", "stage": "normalize", "origin": "callbacks.ping/0/7"}


def letter(offset: int = 0, reason: str = "no JSON") -> Letter:
    headers = (("reason", reason.encode()), ("origin", b"callbacks.ping/0/7"))
    return Letter(Place(0, offset), AT + 1000 * offset, b"ping:link-1", headers, b"x")


def buried(make: Make, *reasons: str) -> list[Message]:
    return [make.raw(topics.DEAD_LETTERS, b"x", {**TOLD, "reason": one}) for one in reasons]


def marked(
    make: Make, offset: int = 0, *, done: bool = True, after: int = 0, note: str = ""
) -> Any:
    """Of the letter that stands there, so many microseconds after it came."""
    one = letter(offset)
    notice = noting.of_letter(one, Mark(done, "ada", one.at + after, note))
    return make.message(topics.NOTICES, notice)


def replayed(make: Make, offset: int, after: int) -> Message:
    one = letter(offset)
    note = {**make.replay(f"r{offset}-{after}", one.name), "at": one.at + after}
    return make.message(topics.REPLAYS, note)


def shown(store: Store, show: str) -> list[int]:
    found = finding.letters(store, Wanted(), show=show, limit=100, after=None)
    brief = finding.briefly(store, Wanted(), show=show, limit=100)
    offsets = [row["offset"] for row in found.page.rows]
    assert offsets == [one.place.offset for one in brief.page.rows]
    assert len(offsets) == found.number == brief.number
    return offsets


async def listed(client: httpx.AsyncClient, show: str) -> list[int]:
    rows = (await client.get(f"/dead-letters?show={show}")).json()["dead_letters"]
    return [row["offset"] for row in rows]


@pytest.mark.kafka
@EACH_DATABASE
async def test_a_person_sets_dead_letters_aside_and_takes_it_back(
    kafka: Cluster,
    database_url: str,
    kind: str,
    make: Make,
    tmp_path: Path,
) -> None:
    put(kafka, "forged", "forged", "unknown status")
    async with following(kafka, database_url) as client:
        await until_listed(client, "open", [2, 1, 0])
        asked = (await client.get(f"{ASIDE}?place=0/0", headers=BROWSER)).text
        assert "Set 1 dead letter aside?" in asked
        assert (await client.get(f"{ASIDE}?reason=FORG")).json() == {"count": 2}
        assert await listed(client, "open") == [2, 1, 0]  # to look is to do nothing
        form = {"place": "0/0", "by": " Ada ", "note": "a scanner", "back": "/dead-letters/0/0"}
        answer = await client.post(ASIDE, data=form, headers=OWN_PAGE)
        assert (answer.status_code, answer.headers["location"]) == (303, "/dead-letters/0/0")
        assert await listed(client, "open") == [2, 1]
        said = (await client.get("/dead-letters/0/0")).json()["aside"]
        assert (said["by"], said["note"]) == ("Ada on the page, from 127.0.0.1", "a scanner")
        page = (await client.get("/dead-letters/0/0", headers=BROWSER)).text
        assert "a scanner" in page
        assert "Open again" in page
        # The rest of these, by a program; what is aside already is left out.
        told = (await client.post(ASIDE, data={"reason": "forged"}, headers=BEARER)).json()
        assert told == {"marked": 1, "left": 0}
        assert (await listed(client, "open"), await listed(client, "aside")) == ([2], [1, 0])
        # Which is left out of replays, too, as long as nobody names it.
        assert (await client.get("/dead-letters/replay")).json() == {"count": 1}
        chosen = (await client.post("/dead-letters/replay", data={}, headers=BEARER)).json()
        assert (chosen["chosen"], chosen["published"]) == (1, 1)
        named = {"place": "0/1", "by": "bob"}
        chosen = (await client.post("/dead-letters/replay", data=named, headers=BEARER)).json()
        assert (chosen["chosen"], chosen["published"]) == (1, 1)
        await until_listed(client, "aside", [0])  # the replay took it back
        again = await client.post(OPEN, data={"place": "0/0"}, headers=BEARER)
        assert again.json() == {"marked": 1, "left": 0}
        assert (await listed(client, "open"), await listed(client, "aside")) == ([0], [])
    kept = [NOTICE.decode(message.value()) for message in read_all(kafka, "notices")]
    assert {(one["kind"], one["provider"]) for one in kept} == {("dead letter handled", "ping")}
    assert sorted(one["status"] for one in kept) == ["aside", "aside", "open"]
    # A board that begins anew knows it all.
    async with following(kafka, f"sqlite:///{tmp_path / 'anew.sqlite'}") as client:
        await until_listed(client, "all", [2, 1, 0])
        await until_listed(client, "open", [0])


def put(cluster: Cluster, *reasons: str) -> None:
    producer = Producer(producing.settings(cluster))
    # Of late: what is older than the topic's retention goes whenever the broker looks.
    for number, reason in enumerate(reasons, micros_now() // 1000 - len(reasons)):
        headers: dict[str, str | bytes | None] = {**TOLD, "reason": reason}
        topic = cluster.topic("dead-letters")
        producer.produce(
            *(topic, b"x", b"ping:link-1"), partition=0, headers=headers, timestamp=number
        )
    assert producer.flush(30) == 0


async def until_listed(client: httpx.AsyncClient, show: str, expected: list[int]) -> None:
    async with asyncio.timeout(PATIENCE):
        while await listed(client, show) != expected:
            await asyncio.sleep(0.02)


@EACH_DATABASE
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=str)
def test_the_latest_word_counts_in_whatever_order_it_is_read(
    store: Store, make: Make, order: tuple[int, ...]
) -> None:
    words = [marked(make, done=n != 1, after=n, note=str(n)) for n in range(3)]
    keep(store, [words[n] for n in order])
    keep(store, buried(make, "forged"))
    found = finding.letter(store, 0, 0)
    assert found is not None
    assert found["aside"] == Mark(True, "ada", AT + 2, "2")
    seen = look(store, AT)
    assert (seen.letters, seen.letters_open) == ([], 0)


# Of one letter each: whether it was set aside or opened, or replayed, at which moment.
LIVES = [
    [],
    [("aside", 1)],
    [("aside", 1), ("open", 2)],
    [("open", 1), ("aside", 2)],
    [("aside", 1), ("replay", 2)],
    [("replay", 1), ("aside", 2)],
    [("replay", 1)],
    [("aside", 1), ("replay", 2), ("aside", 3)],
    [("aside", 1), ("open", 2), ("replay", 3)],
]


@EACH_DATABASE
@pytest.mark.parametrize("backwards", [False, True])
def test_the_store_knows_as_the_topics_do_what_is_open_and_what_is_aside(
    store: Store, make: Make, backwards: bool
) -> None:
    keep(store, buried(make, *("odd" for _ in LIVES)))
    told = []
    for offset, life in enumerate(LIVES):
        for what, at in life:
            again = what == "replay"
            one = replayed(make, offset, at) if again else None
            told.append(one or marked(make, offset, done=what == "aside", after=at))
    told = told[::-1] if backwards else told
    keep(store, told)
    known = dealt.told(
        [REPLAY.decode(one.value) for one in told if one.topic == "replays"],
        [NOTICE.decode(one.value) for one in told if one.topic == "notices"],
    )
    offsets = range(len(LIVES))[::-1]
    waiting = [n for n in offsets if known.is_open(letter(n))]
    aside = [n for n in offsets if known.mark_of(letter(n))]
    assert (waiting, aside) == ([2, 0], [7, 5, 3, 1])
    assert [shown(store, show) for show in LETTERS_SHOWN] == [waiting, aside, list(offsets)]
    rows = finding.letters(store, Wanted(), show="all", limit=100, after=None).page.rows
    assert [row["offset"] for row in rows if row["aside"]] == aside
    assert look(store, AT).letters_open == len(waiting)


async def test_no_callback_and_no_other_notice_passes_for_a_mark(
    client: httpx.AsyncClient, store: Store, make: Make
) -> None:
    mine = noting.of_letter(letter(), Mark(True, "eve", AT))
    forged = [
        {**mine, "origin": "callbacks.peach/0/1"},
        {**mine, "kind": noting.HANDLED},
        {**mine, "subject_id": "dead-letters/x"},
        {**mine, "subject_id": "callbacks.ping/0/0"},
        {**mine, "subject_id": None},
    ]
    keep(store, buried(make, "odd"))
    keep(store, [make.message(topics.NOTICES, one) for one in forged])
    assert await listed(client, "open") == [0]
    assert dealt.told([], forged).aside == {}  # type: ignore[arg-type]


async def test_a_link_that_is_named_like_a_dead_letter_has_no_part_in_its_marks(
    client: httpx.AsyncClient, store: Store, make: Make
) -> None:
    """Anybody may send an unsigned callback for such a link."""
    keep(store, [*buried(make, "odd"), marked(make)])
    keep(store, make.statuses(make.status("dead-letters/0/0")))
    assert (await client.get("/links/ping/dead-letters/0/0")).json()["deeds"] == []
    shown = (await client.get("/notices", headers={"Accept": "text/html"})).text
    assert 'href="/dead-letters/0/0">dead-letters/0/0' in shown
    assert "dead letter handled</b> aside" in shown
    for word in ("by: ada", "reason: no JSON"):
        assert word in shown


async def test_the_first_page_counts_and_names_what_is_left(
    client: httpx.AsyncClient, store: Store, make: Make
) -> None:
    keep(store, [*buried(make, "forged", "unknown status"), marked(make, 0)])
    shown = (await client.get("/", headers={"Accept": "text/html"})).text
    assert "1 dead letter not replayed" in shown
    assert "unknown status (1)" in shown
    assert "forged" not in shown
    keep(store, [marked(make, 1)])
    assert look(store, AT).letters == []


async def test_the_list_shows_what_is_open_what_is_aside_and_all(
    client: httpx.AsyncClient, store: Store, make: Make
) -> None:
    keep(store, [*buried(make, "forged", "odd"), marked(make, 0, note="<b>scanner</b>")])

    async def page(query: str) -> str:
        return (await client.get(f"/dead-letters{query}", headers=BROWSER)).text

    assert 'href="/dead-letters/0/0"' not in await page("")
    assert 'href="/dead-letters/aside?reason=odd"' in await page("?reason=odd")
    aside = await page("?show=aside")
    assert 'href="/dead-letters/0/0"' in aside
    assert 'href="/dead-letters/0/1"' not in aside
    assert "Replay it" not in aside
    assert "<b>scanner" not in aside
    assert 'href="/dead-letters/0/1"' in await page("?show=all")
    wrong = await client.get("/dead-letters?show=done")
    assert (wrong.status_code, wrong.json()["field"]) == (422, "show")
    assert [await listed(client, show) for show in ("open", "aside", "all")] == [[1], [0], [1, 0]]


async def test_what_was_replayed_is_not_to_be_set_aside(
    client: httpx.AsyncClient, store: Store, make: Make
) -> None:
    keep(store, [*buried(make, "odd", "odd"), replayed(make, 0, 0)])
    assert (await client.get(f"{ASIDE}?place=0/0")).json() == {"count": 0}
    told = await client.post(ASIDE, data={"place": "0/0"}, headers=BEARER)
    assert told.json() == {"marked": 0, "left": 0}
    assert "Set it aside" not in (await client.get("/dead-letters/0/0", headers=BROWSER)).text
    assert "Set it aside" in (await client.get("/dead-letters/0/1", headers=BROWSER)).text


@pytest.mark.parametrize("path", [ASIDE, OPEN])
@FORGED
async def test_who_may_not_act_sets_nothing_aside(
    client: httpx.AsyncClient,
    store: Store,
    make: Make,
    path: str,
    headers: dict[str, str],
    status: int,
) -> None:
    keep(store, buried(make, "odd"))
    answer = await client.post(path, data={"place": "0/0"}, headers=headers)
    assert answer.status_code == status
    assert await listed(client, "open") == [0]


@pytest.mark.parametrize(
    ("path", "form", "field"),
    [
        (ASIDE, {"place": "x"}, "place"),
        (ASIDE, {"until": "soon"}, "until"),
        (ASIDE, {"resaon": "x"}, "resaon"),
        (OPEN, {}, "place"),
        (OPEN, {"reason": "x"}, "place"),
    ],
)
async def test_what_is_asked_wrongly_is_named_and_does_nothing(
    client: httpx.AsyncClient, store: Store, make: Make, path: str, form: Any, field: str
) -> None:
    keep(store, buried(make, "x"))
    answer = await client.post(path, data=form, headers=BEARER)
    assert (answer.status_code, answer.json()["field"]) == (422, field)
    assert await listed(client, "open") == [0]


async def test_what_kafka_does_not_take_is_not_set_aside_and_a_person_is_told(
    client: httpx.AsyncClient, store: Store, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(noting.keep, "__defaults__", (0.2,))
    keep(store, buried(make, "x"))
    answer = await client.post(ASIDE, data={"place": "0/0"}, headers=BEARER)
    assert (answer.status_code, "nothing is marked" in answer.json()["error"]) == (503, True)
    assert await listed(client, "open") == [0]
    with pytest.raises(NotTaken):
        dealt.say(Cluster("127.0.0.1:1"), [letter()], Mark(True, "ada", AT))
