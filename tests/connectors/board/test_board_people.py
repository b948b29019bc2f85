"""What a person meets off the straight way: a wrong address, a lost token, an old page of a long
story, a time, an amount nobody can name.
"""

import re
from collections.abc import AsyncIterator

import httpx
import pytest

from connectors import noting
from connectors.board import Board, BoardConfig, application, open_board
from connectors.board.access import COOKIE, Access
from connectors.board.forms import back
from connectors.board.keep import keep
from connectors.board.replaying import Busy, Replays
from connectors.board.store import Store
from connectors.board.tables import link_status
from connectors.board.words import money
from connectors.kafka import Cluster
from connectors.process import Address
from schemas import topics
from tests.connectors.board.conftest import EACH_DATABASE, PROVIDERS, TOKEN
from tests.connectors.board.samples import AT, Make

HERE = "http://127.0.0.1:8080"
READING = {"Accept": "text/html"}
COOKIES = {"Cookie": f"{COOKIE}={Access('127.0.0.1', TOKEN).cookie()}"}
OWN_PAGE = READING | COOKIES | {"Origin": HERE}
DAY = 86_400_000_000


@pytest.fixture
async def untold(database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A board on loopback without a token."""
    config = BoardConfig(
        Cluster("127.0.0.1:1"), PROVIDERS, database_url, Address("127.0.0.1", 0), None
    )
    board = open_board(config)
    transport = httpx.ASGITransport(application(board, []))
    async with httpx.AsyncClient(transport=transport, base_url=HERE) as client:
        yield client
    board.store.close()


@pytest.mark.parametrize("path", ["/nothing", "/links/ping", "/dead-letters/0/x", "/links/"])
async def test_an_address_without_a_page_has_one_that_says_so(
    client: httpx.AsyncClient, path: str
) -> None:
    answer = await client.get(path, headers=READING)
    assert (answer.status_code, "No such page" in answer.text) == (404, True)
    assert 'href="/dead-letters"' in answer.text  # with the way to all others
    told = await client.get(path)
    assert (told.status_code, told.json()) == (404, {"error": "no such address"})


async def test_a_person_who_is_refused_is_told_in_words_and_led_back(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*_: object, **__: object) -> None:
        raise Busy

    monkeypatch.setattr(Replays, "start", busy)
    answer = await client.post("/dead-letters/replay", headers=OWN_PAGE)
    assert (answer.status_code, "Another replay is under way." in answer.text) == (409, True)
    assert 'href="/dead-letters"' in answer.text
    wrong = await client.post("/dead-letters/replay", data={"place": "x"}, headers=OWN_PAGE)
    assert (wrong.status_code, "<main" in wrong.text) == (422, True)
    forged = await client.post("/dead-letters/replay", headers=READING | COOKIES)
    assert (forged.status_code, "did not come from a page" in forged.text) == (403, True)
    foreign = await client.get("/links", headers=READING | {"Host": "evil.example"})
    assert (foreign.status_code, "<main" in foreign.text) == (421, True)


async def test_a_database_that_is_away_has_a_page_too(
    client: httpx.AsyncClient, store: Store
) -> None:
    link_status.drop(store.engine)
    answer = await client.get("/links", headers=READING)
    assert (answer.status_code, "cannot be read now" in answer.text) == (503, True)
    assert "<main" in answer.text
    assert (await client.get("/links")).json() == {
        "error": "the board's database cannot be read now"
    }


async def test_signing_in_leads_back_to_where_one_was(
    client: httpx.AsyncClient, store: Store, make: Make
) -> None:
    keep(store, [make.raw(topics.DEAD_LETTERS, b"x", {"reason": "a&b"})])
    shown = (await client.get("/dead-letters/replay?reason=a%26b", headers=READING)).text
    (way,) = set(re.findall(r'href="(/sign-in\?[^"]+)"', shown))  # beside the act, and at the foot
    form = (await client.get(way, headers=READING)).text
    (asked,) = re.findall(r'name="back" value="([^"]+)"', form)
    assert asked == "/dead-letters/replay?reason=a%26b"
    given = {"token": TOKEN, "back": asked}
    answer = await client.post("/sign-in", data=given, headers=READING | {"Origin": HERE})
    assert (answer.status_code, answer.headers["location"]) == (303, asked)


@pytest.mark.parametrize(
    "asked",
    ["//evil.example", "/\\evil.example", "https://evil.example", "/a\\b", "/\tb", "a", "", None],
)
def test_nobody_is_led_elsewhere(asked: str | None) -> None:
    assert back(asked) == "/"
    assert back("/links?q=a%26b#c") == "/links?q=a%26b#c"


async def test_signing_in_says_where_the_token_is(
    client: httpx.AsyncClient, untold: httpx.AsyncClient
) -> None:
    assert "board-token" in (await client.get("/sign-in", headers=READING)).text
    shown = (await untold.get("/sign-in", headers=READING)).text
    assert "<form" not in shown  # no word would open it
    assert "Set LINKSTATUS_BOARD__TOKEN" in shown


async def test_a_long_story_is_read_page_by_page(
    client: httpx.AsyncClient, store: Store, make: Make
) -> None:
    facts = [
        make.event(f"e{n:03}", provider_status=f"word-{n:03}", received_at=AT + n)
        for n in range(130)
    ]
    keep(store, make.statuses(make.status()))
    keep(store, [make.message(topics.LINK_EVENTS, fact) for fact in facts])
    keep(store, [make.message(topics.ANOMALIES, make.anomaly("a1", at=AT + 20))])
    seen: list[int] = []
    path, pages, noticed = "/links/ping/link-1", 0, 0
    while path:
        shown = (await client.get(path, headers=READING)).text
        seen = [int(n) for n in re.findall(r"word-(\d+)", shown)] + seen
        pages, noticed = pages + 1, noticed + shown.count('class="noticed"')
        older = re.findall(r'rel="prev" href="([^"]+)"', shown)
        path = f"/links/ping/link-1{older[0]}" if older else ""
    assert (seen, pages, noticed) == (list(range(130)), 3, 1)
    newer = re.findall(r'rel="next" href="\?upto=(\d+)"', shown)
    shown = (await client.get(f"/links/ping/link-1?upto={newer[0]}", headers=READING)).text
    assert "word-010" in shown
    assert "word-069" in shown
    odd = (await client.get("/links/ping/link-1?upto=-1", headers=READING)).text
    assert "word-129" in odd


async def test_what_people_did_about_a_link_stays_in_its_timeline(
    client: httpx.AsyncClient, store: Store, make: Make
) -> None:
    """It was told for ten minutes, by the process that had asked; after that nowhere."""
    said = {"by": "Ada on the page, from 127.0.0.1", "answer": "204"}
    deed = noting.notice(noting.CANCEL, "ping", "link-1", "done", AT + DAY, said)
    keep(
        store,
        [
            *make.statuses(make.status()),
            make.message(topics.LINK_EVENTS, make.event("e1")),
            make.message(topics.NOTICES, deed),
        ],
    )
    shown = (await client.get("/links/ping/link-1", headers=READING)).text
    assert re.search(r"cancel asked: done <span[^>]*>by Ada on the page, from 127", shown)
    assert "ping: 204" in shown
    (told,) = (await client.get("/links/ping/link-1")).json()["deeds"]
    assert told["attributes"] == said


async def test_notices_are_shown(client: httpx.AsyncClient, store: Store, make: Make) -> None:
    probe = {**make.notice("n2"), "attributes": {"client_secret": "s3cret", "mode": "live"}}
    keep(store, [make.message(topics.NOTICES, one) for one in (make.notice("n1"), probe)])
    shown = (await client.get("/notices", headers=READING)).text
    for word in ("batch-1", "completed", "2 fields", "mode: live", "•••"):
        assert word in shown
    assert "s3cret" not in shown
    told = (await client.get("/notices?provider=peach&limit=1")).json()
    assert [one["event_id"] for one in told["notices"]] == ["n2"]
    rest = (await client.get(f"/notices?cursor={told['next']}")).json()
    assert [one["event_id"] for one in rest["notices"]] == ["n1"]
    assert "None." in (await client.get("/notices?provider=ping", headers=READING)).text


async def test_times_say_their_day_and_that_they_are_utc(
    client: httpx.AsyncClient, store: Store, make: Make
) -> None:
    steps = {"CLOSED": AT + 2 * DAY, "SETTLED": AT + 3 * DAY}
    order = make.order("o1", state="SETTLED", steps=steps, decided_at=AT)
    keep(store, [make.message(topics.ORDERS, order)])
    shown = (await client.get("/orders/ping/o1", headers=READING)).text
    assert "2023-11-14 22:13:20 UTC" in shown
    assert re.findall(r'<li class="day">([^<]+)', shown) == ["2023-11-16", "2023-11-17"]
    keep(store, [make.raw(topics.DEAD_LETTERS, b"x", {"reason": "odd"})])
    assert (
        "2023-11-14 22:13:20 UTC" in (await client.get("/dead-letters/0/0", headers=READING)).text
    )


@pytest.mark.parametrize(
    ("currency", "shown"),
    [("XBT", "1,234 minor units of XBT"), ("XAU", "1,234 minor units of XAU"), (None, "1,234 ")],
)
def test_an_amount_nobody_can_divide_keeps_its_currency(currency: str | None, shown: str) -> None:
    assert money(1234, currency).startswith(shown)


async def test_a_link_nobody_has_paid_shows_what_it_was_registered_with(
    client: httpx.AsyncClient, store: Store, make: Make
) -> None:
    """The page had a dash where the command line had the amount."""
    agreed = {"registered_at": AT, "order_id": None, "amount_minor": 250_000, "currency": "SEK"}
    agreed |= {"expires_at": None, "links_in_order": None}
    one = make.status(amount_minor=None, currency=None, registration=agreed)
    keep(store, make.statuses(one, make.status("l2", amount_minor=1, registration=agreed)))
    for path in ("/", "/links", "/links/ping/link-1"):
        assert "2,500.00 SEK" in (await client.get(path, headers=READING)).text
    assert "0.01 EUR" in (await client.get("/links/ping/l2", headers=READING)).text


async def test_a_dead_letter_and_the_processes_are_told_to_programs_too(
    client: httpx.AsyncClient, store: Store, make: Make, board: Board
) -> None:
    keep(store, [make.raw(topics.DEAD_LETTERS, b"x", {"reason": "odd"})])
    told = (await client.get("/dead-letters/0/0")).json()
    assert (told["reason"], told["body"]["text"]) == ("odd", "x")
    missing = await client.get("/dead-letters/0/9")
    assert (missing.status_code, missing.json()) == (404, {"error": "no such dead letter"})
    assert (await client.get("/processes")).json() == {"processes": []}


@pytest.mark.parametrize(
    "path",
    [
        *("/dead-letters/replay", "/dead-letters/aside", "/dead-letters/open"),
        *("/anomalies/done", "/anomalies/open"),
    ],
)
async def test_a_misspelt_word_does_not_mean_all_of_them(
    client: httpx.AsyncClient, store: Store, make: Make, path: str
) -> None:
    """`resaon=x` replayed every dead letter there was."""
    keep(store, [make.raw(topics.DEAD_LETTERS, b"x", {"reason": "odd"})])
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    answer = await client.post(path, data={"resaon": "x"}, headers=bearer)
    assert (answer.status_code, answer.json()["field"]) == (422, "resaon")
    if not path.endswith("/open"):
        counted = await client.get(f"{path}?resaon=x")
        assert (counted.status_code, counted.json()["field"]) == (422, "resaon")


@EACH_DATABASE
@pytest.mark.parametrize(
    "place",
    [f"0/{10**20}", f"{10**20}/0", f"{2**31}/0", f"0/{'9' * 5000}", f"{'9' * 5000}/0", "x/y"],
    ids=lambda place: place[:24],
)
async def test_a_place_that_no_number_of_a_database_holds_is_none(
    client: httpx.AsyncClient, place: str
) -> None:
    for headers in (READING, {}):
        assert (await client.get(f"/dead-letters/{place}", headers=headers)).status_code == 404
    shown = await client.get(f"/dead-letters?place={place}")
    assert (shown.status_code, shown.json()["field"]) == (422, "place")
