"""An anomaly is dealt with: marked, with who and when, on a topic; and shown wherever it is."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from connectors import noting
from connectors.board import BoardConfig, acts, application, handling, open_board, queries
from connectors.board.access import COOKIE, Access
from connectors.board.keep import keep
from connectors.board.lately import look
from connectors.board.store import Store
from connectors.kafka import Cluster
from connectors.noting import Mark
from connectors.process import Address
from schemas import topics
from schemas.codec import ANOMALY, LINK_STATUS, NOTICE
from tests.connectors.board.conftest import EACH_DATABASE, PROVIDERS, TOKEN
from tests.connectors.board.samples import AT, Make
from tests.reading import read_all, write_all
from tests.waiting import PATIENCE, until

HERE = "http://127.0.0.1:8080"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
BROWSER = {"Cookie": f"{COOKIE}={Access('127.0.0.1', TOKEN).cookie()}", "Accept": "text/html"}
OWN_PAGE = BROWSER | {"Origin": HERE}
READING = {"Accept": "text/html"}
DONE = "/anomalies/done"
# Whoever may not act.
FORGED = pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer guess"}, 401),
        (BROWSER, 403),
        (BROWSER | {"Origin": "https://evil.example"}, 403),
        (OWN_PAGE | {"Sec-Fetch-Site": "same-site"}, 403),
    ],
)


def noticed(make: Make, event_id: str, **changes: Any) -> Any:
    return make.message(topics.ANOMALIES, {**make.anomaly(event_id), **changes})


def marked(make: Make, event_id: str, *, done: bool, at: int, note: str = "") -> Any:
    notice = noting.of_mark(make.anomaly(event_id), Mark(done, "ada", at, note))
    return make.message(topics.NOTICES, notice)


@asynccontextmanager
async def following(cluster: Cluster, database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a board that reads its topics, and answers once it is done with what was asked:
    on a busy machine not within the seconds that a browser is kept waiting.
    """
    board = open_board(
        BoardConfig(cluster, PROVIDERS, database_url, Address("127.0.0.1", 0), TOKEN)
    )
    task = asyncio.create_task(board.follow())
    transport = httpx.ASGITransport(application(board, []))
    try:
        await until(lambda: board.why_not() is None, "the board to follow")
        with pytest.MonkeyPatch.context() as waiting:
            for patient in (acts, handling):
                waiting.setattr(patient, "_PATIENCE_SECONDS", PATIENCE)
            async with httpx.AsyncClient(transport=transport, base_url=HERE) as client:
                yield client
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def listed(client: httpx.AsyncClient, query: str = "") -> list[Any]:
    found: list[Any] = (await client.get(f"/anomalies{query}")).json()["anomalies"]
    return found


async def open_now(client: httpx.AsyncClient) -> set[str]:
    return {one["event_id"] for one in await listed(client, "?show=open")}


@pytest.mark.kafka
async def test_a_person_marks_an_anomaly_as_done_and_as_open_again(
    kafka: Cluster, database_url: str, make: Make, tmp_path: Path
) -> None:
    said = [make.anomaly("a1"), make.anomaly("a2"), make.anomaly("a3", "link-2")]
    write_all(kafka, "anomalies", [(b"ping:link-1", ANOMALY.encode(one)) for one in said])
    write_all(kafka, "link-status", [(b"ping:link-1", LINK_STATUS.encode(make.status()))])
    async with following(kafka, database_url) as client:
        await until_open(client, {"a1", "a2", "a3"})
        asked = (await client.get(f"{DONE}?event_id=a1", headers=BROWSER)).text
        assert "Mark 1 anomaly as done?" in asked
        assert "received 1.00 of 12.34 EUR" in asked
        assert await open_now(client) == {"a1", "a2", "a3"}  # to look is to do nothing
        form = {"event_id": "a1", "by": " Ada ", "note": "refunded", "back": "/links/ping/link-1"}
        answer = await client.post(DONE, data=form, headers=OWN_PAGE)
        assert (answer.status_code, answer.headers["location"]) == (303, "/links/ping/link-1")
        assert await open_now(client) == {"a2", "a3"}
        (done,) = [one["done"] for one in await listed(client) if one["event_id"] == "a1"]
        assert (done["by"], done["note"]) == ("Ada on the page, from 127.0.0.1", "refunded")
        shown = (await client.get("/links/ping/link-1", headers=BROWSER)).text
        assert "underpaid marked as done" in shown
        assert "Open again" in shown
        # The rest, by a program; what is done already is left out.
        told = (await client.post(DONE, data={"kind": "UNDERPAID"}, headers=BEARER)).json()
        assert told == {"marked": 2, "left": 0}
        assert await open_now(client) == set()
        again = await client.post("/anomalies/open", data={"event_id": "a1"}, headers=BEARER)
        assert again.json() == {"marked": 1, "left": 0}
        assert await open_now(client) == {"a1"}
    kept = [NOTICE.decode(message.value()) for message in read_all(kafka, "notices")]
    assert {one["kind"] for one in kept} == {"anomaly handled"}
    assert len({one["event_id"] for one in kept}) == 4
    # A board that begins anew knows it all.
    async with following(kafka, f"sqlite:///{tmp_path / 'anew.sqlite'}") as client:
        await until_open(client, {"a1"})
        assert len(await listed(client)) == 3


async def until_open(client: httpx.AsyncClient, expected: set[str]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not (await open_now(client) == expected and len(await listed(client)) == 3):
            await asyncio.sleep(0.02)


async def test_what_is_open_needs_somebody_however_old_it_is(
    client: httpx.AsyncClient, store: Store, make: Make
) -> None:
    """An anomaly of Friday night was off the first page before Monday."""
    keep(store, [noticed(make, "a1"), noticed(make, "a2", kind="PAYMENT_REVERSED")])
    words = [(group.word, group.number) for group in look(store, AT + 10**15).anomalies]
    assert sorted(words) == [("PAYMENT_REVERSED", 1), ("UNDERPAID", 1)]
    keep(store, [marked(make, "a2", done=True, at=AT + 1)])
    shown = (await client.get("/", headers=READING)).text
    assert "Less was received" in shown
    assert "taken back" not in shown


@EACH_DATABASE
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=str)
def test_the_latest_word_counts_in_whatever_order_it_is_read(
    store: Store, make: Make, order: tuple[int, ...]
) -> None:
    words = [marked(make, "a1", done=n != 1, at=AT + n, note=str(n)) for n in range(3)]
    keep(store, [words[n] for n in order])
    assert queries.marks(store, ["a1", "a2"]) == {"a1": Mark(True, "ada", AT + 2, "2")}
    keep(store, [noticed(make, "a1")])
    assert look(store, AT).anomalies == []


async def test_no_callback_can_pass_for_a_mark(
    client: httpx.AsyncClient, store: Store, make: Make
) -> None:
    forged = noting.of_mark(make.anomaly("a1"), Mark(True, "eve", AT))
    asked = {**make.notice("n2"), "kind": noting.CANCEL, "provider": "ping"}
    keep(
        store,
        [
            noticed(make, "a1"),
            *make.statuses(make.status()),
            make.message(topics.NOTICES, {**forged, "origin": "callbacks.peach/0/1"}),
            make.message(topics.NOTICES, {**asked, "subject_id": "link-1"}),
        ],
    )
    assert await open_now(client) == {"a1"}
    assert (await client.get("/links/ping/link-1")).json()["deeds"] == []


async def test_anomalies_are_narrowed_for_programs_too(
    client: httpx.AsyncClient, store: Store, make: Make
) -> None:
    keep(store, [noticed(make, "a1"), noticed(make, "a2", kind="STALE", provider="peach")])
    assert [one["event_id"] for one in await listed(client, "?kind=STALE")] == ["a2"]
    assert [one["event_id"] for one in await listed(client, "?provider=ping")] == ["a1"]
    assert (await client.get("/anomalies?kind=stale")).status_code == 422
    assert (await client.get(f"{DONE}?provider=peach")).json() == {"count": 1}
    wrong = await client.get(f"{DONE}?until=soon")
    assert (wrong.status_code, wrong.json()["field"]) == (422, "until")


@pytest.mark.parametrize("path", [DONE, "/anomalies/open"])
@FORGED
async def test_who_may_not_act_marks_nothing(
    client: httpx.AsyncClient,
    store: Store,
    make: Make,
    path: str,
    headers: dict[str, str],
    status: int,
) -> None:
    keep(store, [noticed(make, "a1")])
    answer = await client.post(path, data={"event_id": "a1"}, headers=headers)
    assert answer.status_code == status
    assert await open_now(client) == {"a1"}


async def test_what_kafka_does_not_take_is_not_marked_and_a_person_is_told(
    client: httpx.AsyncClient, store: Store, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(noting.keep, "__defaults__", (0.2,))
    keep(store, [noticed(make, "a1")])
    answer = await client.post(DONE, data={"event_id": "a1"}, headers=BEARER)
    assert (answer.status_code, "nothing is marked" in answer.json()["error"]) == (503, True)
    page = await client.post(DONE, data={"event_id": "a1"}, headers=OWN_PAGE)
    assert (page.status_code, "nothing is marked" in page.text) == (503, True)
    assert 'href="/anomalies"' in page.text
    assert await open_now(client) == {"a1"}


@pytest.mark.parametrize(
    ("path", "form"),
    [
        (DONE, {"kind": "ODD"}),
        (DONE, {"until": "soon"}),
        ("/anomalies/open", {}),
    ],
)
async def test_what_is_asked_wrongly_is_named(
    client: httpx.AsyncClient, path: str, form: dict[str, str]
) -> None:
    answer = await client.post(path, data=form, headers=BEARER)
    assert (answer.status_code, "field" in answer.json()) == (422, True)


async def test_what_is_not_there_is_marked_by_nobody(client: httpx.AsyncClient) -> None:
    for path in (DONE, "/anomalies/open"):
        answer = await client.post(path, data={"event_id": "no"}, headers=BEARER)
        assert answer.json() == {"marked": 0, "left": 0}


@EACH_DATABASE
def test_notices_of_before_have_their_subjects(new_database: Any, make: Make) -> None:
    from alembic import command
    from sqlalchemy import create_engine, insert, select

    from connectors.board import migrate
    from connectors.board import tables as t
    from connectors.board.rows import read as rows_of

    url = new_database()
    engine = create_engine(url)
    with engine.begin() as connection:
        command.upgrade(migrate.config(connection), "0002")
    deed = noting.notice(noting.CANCEL, "ping", "link-1", "done", AT, {"by": "ada"})
    some = [make.notice("n1"), {**make.notice("n2"), "subject_id": None}, deed]
    rows = rows_of(make.message(topics.NOTICES, one) for one in some).rows[t.notices]
    with engine.begin() as connection:
        for row in rows:
            old = {name: value for name, value in row.items() if name != "subject_id"}
            connection.execute(insert(t.notices).values(**old))
    engine.dispose()
    with closing(Store(url)) as store:
        with store.reading() as connection:
            found = set(connection.scalars(select(t.notices.c.subject_id)))
        assert found == {"batch-1", None, "link-1"}
        keep(store, make.statuses(make.status()))
        link = queries.link(store, "ping", "link-1")
        assert link is not None
        assert [one["kind"] for one in link.deeds] == [noting.CANCEL]
