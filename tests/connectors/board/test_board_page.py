"""The pages: complete, harmless with hostile content, and free of foreign hosts."""

import re
import time
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors import noting
from connectors.board import Board, chart
from connectors.board.advice import ANOMALIES, problems
from connectors.board.asking import KINDS
from connectors.board.health import Health
from connectors.board.keep import keep
from connectors.board.lately import look
from connectors.board.pages import STATIC
from connectors.board.present import masked_body, rfc3339
from connectors.board.rows import Message
from connectors.board.store import Store
from connectors.board.words import age, many, money, took
from connectors.noting import Mark
from schemas import topics
from tests.connectors.board.samples import AT, Make

HOSTILE = "<script>alert(1)</script>"
PAGES = ["/", "/links", "/orders", "/anomalies", "/dead-letters", "/processes"]
PAGES += [
    "/dead-letters/replay",
    "/dead-letters/aside",
    "/notices",
    "/anomalies/done",
    "/links/ping/l1",
    "/orders/ping/o1",
    "/dead-letters/0/0",
]
WITHOUT_TABLES = ("/processes", "/notices", "/links/ping/l1", "/dead-letters/0/0")
TABLE_ROLES = {
    "table": {"table"},
    "thead": {"rowgroup"},
    "tbody": {"rowgroup"},
    "tr": {"row"},
    "td": {"cell"},
    "th": {"columnheader", "rowheader"},
}
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def fill(store: Store, make: Make) -> None:
    keep(
        store,
        [
            *make.statuses(
                make.status("l1", status="PAID", payment_ids=["pay-1"], anomalies=["OVERPAID"]),
                make.status("l2", provider="peach", claimed_status="PAID", order_id="o7"),
                make.status(HOSTILE, provider="ipint", order_from="AWAITED"),
            ),
            make.message(topics.LINK_EVENTS, make.event("e1", "l1", reason=HOSTILE)),
            make.message(topics.ORDERS, make.order("o1", state="SETTLED", failure=HOSTILE)),
            make.message(topics.ANOMALIES, make.anomaly("a1", "l1")),
            make.raw(topics.DEAD_LETTERS, b"x" + HOSTILE.encode(), {"reason": HOSTILE}),
            make.raw(topics.LINK_EVENTS, b"?"),
        ],
    )


async def page(client: httpx.AsyncClient, path: str) -> str:
    answer = await client.get(path, headers=BROWSER)
    assert answer.status_code == 200, path
    assert answer.headers["content-type"].startswith("text/html")
    return answer.text


@pytest.mark.parametrize("path", PAGES[:9])
async def test_an_empty_board_has_its_pages(client: httpx.AsyncClient, path: str) -> None:
    await page(client, path)


async def test_an_empty_board_says_that_all_is_well_but_for_kafka(
    client: httpx.AsyncClient,
) -> None:
    shown = await page(client, "/")
    assert "1 thing needs you" in shown
    assert "not connected to Kafka yet" in shown
    assert "linkstatus doctor" in shown


@pytest.mark.parametrize("path", ["/links/ping/no", "/orders/ping/no", "/dead-letters/7/7"])
async def test_what_is_not_there_has_a_page_that_says_so(
    client: httpx.AsyncClient, path: str
) -> None:
    answer = await client.get(path, headers=BROWSER)
    assert answer.status_code == 404
    assert "Not here" in answer.text


async def test_one_address_answers_people_and_programs(
    client: httpx.AsyncClient, store: Store, make: Make
) -> None:
    fill(store, make)
    for path in ("/", "/links", "/orders", "/anomalies", "/dead-letters", "/links/ping/l1"):
        answer = await client.get(path)
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["vary"] == "Accept"
        assert "<main" in await page(client, path)


async def test_programs_are_told_what_the_first_page_says(
    client: httpx.AsyncClient, store: Store, make: Make
) -> None:
    fill(store, make)
    now = time.time_ns() // 1000
    keep(store, [make.message(topics.LINK_EVENTS, make.event("e2", "l2", received_at=now))])
    told = (await client.get("/")).json()
    assert [(one["word"], one["grave"]) for one in told["problems"]] == [
        ("STOPPED", True),
        ("NOT READ", True),
        ("UNDERPAID", False),
    ]
    assert told["problems"][1]["href"] == "/dead-letters?show=open"
    assert told["providers"]["ping"] == {
        "links": {"PAID": 1},
        "events_within_hour": 1,
        "last_event_at": rfc3339(now),
    }
    assert told["providers"]["truelayer"]["links"] == {}
    assert (told["anomalies_open"], told["dead_letters_open"]) == (1, 1)


async def test_the_pages_show_all_there_is(
    client: httpx.AsyncClient, store: Store, make: Make
) -> None:
    fill(store, make)
    now = time.time_ns() // 1_000_000
    keep(store, [Message("orders", 0, 7, now, b"ping:o1", b"?")])
    first = await page(client, "/")
    for shown in ("l1", "claims paid", "12.34 EUR", "awaited", "overpaid", "1 dead letter"):
        assert shown in first
    # Of the last day: one of 2023 was told for ever, and nobody could do anything about it.
    assert "1 record on our own topics could not be read within a day" in first
    assert "orders/0/7: " in first
    assert "settled" in await page(client, "/orders")
    anomalies = await page(client, "/anomalies")
    assert "received 1.00 of 12.34 EUR" in anomalies
    assert "Ask the payer for the rest" in anomalies


@pytest.mark.parametrize(
    ("query", "found", "left_out"),
    [
        ("provider=ping&status=PAID", {"ping/l1"}, {"peach/l2"}),
        ("status=CREATED", {"peach/l2"}, {"ping/l1"}),
        ("q=l", {"ping/l1", "peach/l2"}, set()),
        ("q=l2", {"peach/l2"}, {"ping/l1"}),
        ("q=pay-1", {"ping/l1"}, {"peach/l2"}),
        ("q=o7", {"peach/l2"}, {"ping/l1"}),
        ("q=l&provider=peach", {"peach/l2"}, {"ping/l1"}),
        ("q=%25", set(), {"ping/l1", "peach/l2"}),
    ],
)
async def test_links_are_filtered_and_searched(
    client: httpx.AsyncClient,
    store: Store,
    make: Make,
    query: str,
    found: set[str],
    left_out: set[str],
) -> None:
    fill(store, make)
    shown = await page(client, f"/links?{query}")
    assert all(f"/links/{link}" in shown for link in found)
    assert not any(f"/links/{link}" in shown for link in left_out)


async def test_a_wrong_filter_is_told_and_narrows_nothing(
    client: httpx.AsyncClient, store: Store, make: Make
) -> None:
    fill(store, make)
    shown = await page(client, "/links?status=PIAD")
    assert "status: is not one of" in shown
    assert "/links/ping/l1" in shown


async def test_a_long_list_goes_on(client: httpx.AsyncClient, store: Store, make: Make) -> None:
    keep(store, make.statuses(*(make.status(f"n{n:03}", changed_at=AT + n) for n in range(60))))
    first = await page(client, "/links?provider=ping")
    assert "n059" in first
    assert "n009" not in first
    (older,) = re.findall(r'rel="next" href="([^"]+)"', first)
    rest = await page(client, "/links" + older.replace("&amp;", "&"))
    assert "n009" in rest
    assert "n010" not in rest


@pytest.mark.parametrize("path", PAGES)
async def test_what_senders_wrote_is_only_text(
    client: httpx.AsyncClient, store: Store, make: Make, path: str
) -> None:
    fill(store, make)
    assert HOSTILE not in await page(client, path)


@pytest.mark.parametrize("path", [path for path in PAGES if path not in WITHOUT_TABLES])
async def test_a_table_stays_one_for_screen_readers_however_it_is_laid_out(
    client: httpx.AsyncClient, store: Store, make: Make, path: str
) -> None:
    """Rows that are laid out as blocks, as on narrow screens, are none for some."""
    fill(store, make)
    parts = re.findall(r"<(table|thead|tbody|tr|th|td)\b([^>]*)>", await page(client, path))
    for name, attributes in parts:
        (role,) = re.findall(r'role="(\w+)"', attributes)
        assert role in TABLE_ROLES[name], (name, attributes)
    assert {name for name, _ in parts} >= {"table", "thead", "tbody", "tr", "th"}


@pytest.mark.parametrize("path", [*PAGES, "/sign-in"])
async def test_no_page_needs_anything_from_elsewhere(
    client: httpx.AsyncClient, store: Store, make: Make, path: str
) -> None:
    fill(store, make)
    shown = await page(client, path)
    shown = shown.replace("http://work:8080", "")  # an example, in words
    assert not re.search(r"https?://|<style|style=|\son[a-z]+=|<script>", shown)
    for asset in re.findall(r'(?:src|href)="(/static/[^"]+)"', shown):
        assert (await client.get(asset)).status_code == 200
    for file in STATIC.iterdir():
        hosts = set(re.findall(r"https?://[\w.]+", file.read_text()))
        assert hosts <= {"http://www.w3.org"}, file.name


async def test_the_timeline_goes_from_the_first_callback_to_the_settlement(
    client: httpx.AsyncClient, store: Store, make: Make
) -> None:
    at = [AT + n * 1_000_000 for n in range(5)]
    order = make.order("l1", steps={"CLOSED": at[3]}, decided_at=at[2])
    settled = make.settlement("s1", "l1", "CONFIRMED", at[4])
    paid = make.event("e2", "l1", status="PAID", received_at=at[1], verified=True)
    keep(
        store,
        [
            *make.statuses(make.status("l1", status="PAID", times={"PAID": at[1]})),
            make.message(topics.LINK_EVENTS, make.event("e1", "l1", received_at=at[0])),
            make.message(topics.LINK_EVENTS, paid),
            make.message(topics.ORDERS, order),
            make.message(topics.ORDER_CLOSE, {**make.close("c1", "l1"), "decided_at": at[2]}),
            make.message(topics.SETTLEMENT, settled),
        ],
    )
    shown = await page(client, "/links/ping/l1")
    told = ("unsigned", "verified", "order-close", "order closed", "settlement")
    places = [shown.index(text, shown.index('id="timeline"')) for text in told]
    assert places == sorted(places)
    assert shown.count('class="changed"') == 1


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, "Waits for a payment."),
        ({"links": ["PAID"], "links_in_order": 3}, "Waits for 2 links that nobody has told of."),
        (
            {"links": ["PAID", "OPENED"], "links_in_order": 3},
            "Waits for 1 link that nobody has told of and 1 link to end: l1.",
        ),
        ({"links": ["EXPIRED"]}, "Waits for a payment."),
        ({"links": ["OPENED"] * 7}, "7 links to end: l0, l1, l2, l3, l4 and others."),
        (
            {"links": ["PAID"], "decided_at": AT, "state": "CLOSE_DECIDED"},
            "nobody has reported on order-updates that it is closed",
        ),
    ],
)
async def test_an_order_says_why_it_is_not_closed(
    client: httpx.AsyncClient, store: Store, make: Make, changes: dict[str, Any], told: str
) -> None:
    """The page of a link said nothing of its order but the id."""
    statuses = changes.get("links", [])
    links = [make.order_link(f"l{n}", status=status) for n, status in enumerate(statuses)]
    order = make.order("o2", **{**changes, "links": links})
    known = make.statuses(make.status("l0", order_id="o2", status="EXPIRED"))
    keep(store, [*known, make.message(topics.ORDERS, order)])
    assert told in words(await page(client, "/orders/ping/o2"))
    shown = words(await page(client, "/links/ping/l0"))
    state = order["state"].replace("_", " ").lower()
    assert f"Order o2 {state}" in shown
    assert ("Its order is not closed. Waits for" in shown) is (order["decided_at"] is None)


async def test_a_list_of_links_tells_what_became_of_their_orders(
    client: httpx.AsyncClient, store: Store, make: Make
) -> None:
    """Each link had to be opened for that."""
    own, other = make.status("l1", status="PAID"), make.status("l2", order_id="o2")
    awaited = make.status("l3", order_from="AWAITED")
    orders = [make.order("l1", state="CLOSE_DECIDED"), make.order("o2", provider="peach")]
    orders.append(make.order("l3", state="SETTLED"))
    told = [make.message(topics.ORDERS, order) for order in orders]
    keep(store, [*make.statuses(own, other, awaited), *told])
    for path in ("/", "/links?q=l"):
        shown = await page(client, path)
        cells = re.findall(r'class="order">(.*?)</td>', shown, re.DOTALL)
        assert set(map(words, cells)) == {"its own close decided", "o2", "awaited"}


def words(shown: str) -> str:
    """What a person reads."""
    text = " ".join(re.sub(r"</?(?:div|d[ltd]|p|h[12]|li)\b[^>]*>", " ", shown).split())
    return re.sub(r"<[^>]+>", "", text)


async def test_a_claim_does_not_look_like_what_is_proven(
    client: httpx.AsyncClient, store: Store, make: Make
) -> None:
    """Both were a bold green "paid"; and what says nothing of the status was "unknown"."""
    events = [
        make.event("e1", "l1", status="PAID", received_at=AT),
        make.event("e2", "l1", status="PAID", verified=True, received_at=AT + 1),
        make.event("e3", "l1", status="UNKNOWN", verified=True, received_at=AT + 2),
    ]
    facts = [make.message(topics.LINK_EVENTS, event) for event in events]
    keep(store, [*make.statuses(make.status("l1", status="PAID")), *facts])
    timeline = (await page(client, "/links/ping/l1")).split('id="timeline"')[1]
    said = re.findall(r'<p><span class="([^"]+)">([^<]+)</span>', timeline)
    assert said[:2] == [("word ended", "claims paid"), ("word good", "paid")]
    assert "unknown" not in timeline.lower()


async def test_a_settled_order_shows_how_long_it_took(
    client: httpx.AsyncClient, store: Store, make: Make
) -> None:
    paid = make.order_link("l1", paid_at=AT)
    steps = {"CLOSED": AT + 120 * 1_000_000, "SETTLED": AT + 3 * 3_600_000_000}
    order = make.order("o2", state="SETTLED", links=[paid], closed_link_ids=["l1"], steps=steps)
    keep(store, [make.message(topics.ORDERS, {**order, "decided_at": AT})])
    shown = await page(client, "/orders")
    assert re.search(r">2 min</td>\s*<td[^>]*>2 h</td>", shown)


async def test_events_are_counted_by_the_minute(store: Store, make: Make) -> None:
    now = AT + 30 * 60_000_000
    told = [make.event(f"e{n}", received_at=now - n * 60_000_000) for n in (0, 0, 5, 59, 61)]
    told[1]["event_id"] = "another"
    keep(store, [make.message(topics.LINK_EVENTS, event) for event in told])
    coming = look(store, now).coming["ping"]
    assert {n: count for n, count in enumerate(coming.by_minute) if count} == {0: 1, 54: 1, 59: 2}
    assert coming.last_at == now


def test_every_anomaly_says_what_to_do() -> None:
    assert set(ANOMALIES) == set(KINDS)
    assert all(means.endswith(".") and cure.endswith(".") for means, cure in ANOMALIES.values())


@pytest.mark.parametrize(
    ("health", "word", "told"),
    [
        (Health("work", "silent", "refused"), "DOWN", "work does not answer"),
        (Health("work", "not ready", "no partitions"), "NOT READY", "no partitions"),
        (Health("lookup", "ready", held_back=("ping",)), "HELD BACK", "LINKSTATUS_PING__"),
        (Health("work", "ready", waiting={"track": 9000}), "BEHIND", "9,000 records wait"),
    ],
)
def test_what_is_wrong_with_a_process_says_what_to_do(
    store: Store, health: Health, word: str, told: str
) -> None:
    (problem,) = problems(look(store, AT), [health, Health("settle", "ready")], None)
    assert problem.word == word
    assert told in " ".join((problem.what, problem.detail, problem.cure))


def test_the_gravest_comes_first_and_what_is_well_is_not_told(store: Store, make: Make) -> None:
    now = time.time_ns() // 1000
    assert problems(look(store, now), [Health("work", "ready")], None) == []
    keep(
        store,
        [
            make.message(topics.ANOMALIES, make.anomaly("new", at=now)),
            make.message(topics.ANOMALIES, {**make.anomaly("done"), "kind": "STALE"}),
            make.message(
                topics.NOTICES, noting.of_mark(make.anomaly("done"), Mark(True, "ada", now))
            ),
            make.message(topics.ORDERS, make.order("o", state="FAILED")),
        ],
    )
    found = problems(look(store, now), [], "cannot read from Kafka")
    assert [problem.word for problem in found] == ["STOPPED", "REFUSED", "UNDERPAID"]


async def test_a_dead_letter_that_was_replayed_needs_nobody(
    client: httpx.AsyncClient, store: Store, make: Make
) -> None:
    fill(store, make)
    keep(store, [make.message(topics.REPLAYS, make.replay("r1"))])
    assert look(store, AT).letters_open == 0
    assert "Nothing to replay" in await page(client, "/dead-letters/replay")
    assert "dead-letters/0/0" not in await page(client, "/dead-letters")
    assert "dead-letters/0/0" in await page(client, "/dead-letters?show=all")
    assert "ada" in await page(client, "/dead-letters/0/0")


async def test_without_a_token_the_page_says_how_to_replay(
    client: httpx.AsyncClient, store: Store, make: Make, board: Board
) -> None:
    fill(store, make)
    shown = await page(client, "/dead-letters/0/0")
    assert "<button" not in shown.split('id="letter"')[1]
    assert 'href="/sign-in?back=%2Fdead-letters%2F0%2F0"' in shown


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b'{"card":{"number":"4111111111111111"}}', b'{"card":{"number":"411111\xe2\x80\xa2'),
        (b"pan=5500005555555559&x=1", b"1111"),
        (b'{"amount":4111111111111112}', b"4111111111111112"),
        (b'{"at":1700000000000000}', b"1700000000000000"),
        (b'{"card":{"cvc":"123"}}', b'"cvc":"\xe2\x80\xa2'),
    ],
)
def test_card_numbers_are_masked_wherever_they_stand(body: bytes, shown: bytes) -> None:
    masked = masked_body(body)
    assert b"4111111111111111" not in masked
    assert b"5500005555555559" not in masked
    assert shown in masked or b"550000" in masked


@given(values=st.lists(st.integers(0, 10**9), max_size=60))
def test_a_curve_stays_within_its_frame(values: list[int]) -> None:
    for drawn in (chart.bars(values), chart.line(values)):
        heights = [
            float(n) for n in re.findall(r"v-(\d+)|,(\d+\.?\d*)", drawn.path) for n in n if n
        ]
        assert all(0 <= height <= drawn.height for height in heights)
        assert drawn.most == max(values, default=0)


@pytest.mark.parametrize(
    ("minor", "currency", "shown"),
    [
        (1234567, "EUR", "12,345.67 EUR"),
        (500, "JPY", "500 JPY"),
        (None, "EUR", "—"),
        (12, None, "12 minor units"),
    ],
)
def test_money_is_shown_in_major_units(minor: int | None, currency: str | None, shown: str) -> None:
    assert money(minor, currency) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"), [(-5, "now"), (0, "now"), (59, "59 s"), (60, "1 min"), (90_000, "1 d")]
)
def test_age_is_shown_in_its_largest_unit(seconds: int, shown: str) -> None:
    assert age(AT, AT / 1_000_000 + seconds) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"), [(None, "—"), (-1.0, "under 1 s"), (0.4, "under 1 s"), (7300.0, "2 h")]
)
def test_a_span_is_shown_in_its_largest_unit(seconds: float | None, shown: str) -> None:
    assert took(seconds) == shown


def test_one_is_not_many() -> None:
    assert (many(1, "order"), many(2000, "order")) == ("1 order", "2,000 orders")
    assert many(2, "entry", "entries") == "2 entries"
