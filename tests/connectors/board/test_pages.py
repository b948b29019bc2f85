"""The pages: complete, harmless with hostile content, and free of foreign hosts."""

import asyncio
import re
from typing import Any

import pytest

from connectors.board.http.refusal import Refused
from connectors.board.pages.renderer import STATIC
from connectors.board.replays import Replays
from connectors.triage import audit
from schemas import topics
from tests.connectors.board.conftest import (
    BROWSER,
    OWN_PAGE,
    READING,
    Site,
    client_of,
    config,
    opened_board,
)
from tests.connectors.board.samples import AT

HOSTILE = "<script>alert(1)</script>"
LISTS = ["/", "/links", "/orders", "/anomalies", "/dead-letters", "/notices", "/processes"]
LISTS += ["/reconciliations"]
FORMS = ["/dead-letters/replay", "/dead-letters/resolve", "/anomalies/resolve"]
DETAILS = ["/links/ping/l1", "/orders/ping/o1", "/dead-letters/0/0"]
DETAILS += ["/reconciliations/ping/2025-11-01"]
PATHS = [*LISTS, *FORMS, *DETAILS, "/sign-in"]
WITHOUT_TABLES = ("/processes", "/notices", "/links/ping/l1", "/dead-letters/0/0", "/sign-in")
TABLE_ROLES = {
    "table": {"table"},
    "thead": {"rowgroup"},
    "tbody": {"rowgroup"},
    "tr": {"row"},
    "td": {"cell"},
    "th": {"columnheader", "rowheader"},
}
SECOND = 1_000_000
DAY = 86_400 * SECOND


def fill(site: Site) -> None:
    make = site.make
    site.put(
        topics.LINK_STATUS,
        make.status("l1", status="PAID", payment_ids=["pay-1"], anomalies=["OVERPAID"]),
        make.status("l2", provider="peach", claimed_status="PAID", order_id="o7"),
        make.status(HOSTILE, provider="ipint", order_from="AWAITED"),
    )
    site.put(topics.LINK_EVENTS, make.event("e1", "l1", reason=HOSTILE), b"?")
    site.put(topics.ORDERS, make.order("o1", state="SETTLED", failure=HOSTILE))
    site.put(topics.ANOMALIES, make.anomaly("a1", "l1"))
    site.put(topics.RECONCILIATIONS, make.reconciled(differences=[HOSTILE]))
    site.put_dead_letters(HOSTILE, body=b"x" + HOSTILE.encode())


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Each page, and each static file that a page links, of a board with hostile content."""

    async def load() -> dict[str, str]:
        url = f"sqlite:///{tmp_path_factory.mktemp('board') / 'board.sqlite'}"
        with opened_board(config(url)) as board:
            async with client_of(board) as client:
                site = Site(board, client)
                fill(site)
                loaded = {path: await site.page(path) for path in PATHS}
                for path in set(re.findall(r'"(/static/[^"]+)"', "".join(loaded.values()))):
                    loaded[path] = (await client.get(path)).raise_for_status().text
        return loaded

    return asyncio.run(load())


def text_of(html: str) -> str:
    """What a person reads."""
    spaced = " ".join(re.sub(r"</?(?:div|d[ltd]|p|h[12]|li)\b[^>]*>", " ", html).split())
    return re.sub(r"<[^>]+>", "", spaced)


@pytest.mark.parametrize("path", PATHS)
def test_page_is_harmless_and_complete_by_itself(pages: dict[str, str], path: str) -> None:
    assert HOSTILE not in pages[path]
    html = pages[path].replace("http://work:8080", "")  # an example in the text
    assert not re.search(r"https?://|<style|style=|\son[a-z]+=|<script>", html)
    assert set(re.findall(r'(?:src|href)="(/static/[^"]+)"', html)) <= pages.keys()


def test_static_file_needs_nothing_from_other_hosts() -> None:
    for file in STATIC.iterdir():
        hosts = set(re.findall(r"https?://[\w.]+", file.read_text()))
        assert hosts <= {"http://www.w3.org"}, file.name


@pytest.mark.parametrize("path", PATHS)
def test_table_stays_a_table_for_screen_readers(pages: dict[str, str], path: str) -> None:
    """Some browsers hide a table whose rows are laid out as blocks, as on narrow screens."""
    parts = re.findall(r"<(table|thead|tbody|tr|th|td)\b([^>]*)>", pages[path])
    for name, attributes in parts:
        (role,) = re.findall(r'role="(\w+)"', attributes)
        assert role in TABLE_ROLES[name], (name, attributes)
    if path not in WITHOUT_TABLES:
        assert {name for name, _ in parts} >= {"table", "thead", "tbody", "tr", "th"}


def test_lists_show_what_is_stored(pages: dict[str, str]) -> None:
    for text in ("l1", "claims paid", "12.34 EUR", "not named yet", "overpaid"):
        assert text in pages["/"]
        assert text in pages["/links"]
    assert "settled" in pages["/orders"]
    assert "received 1.00 of 12.34 EUR" in pages["/anomalies"]
    assert "Ask the payer for the rest" in pages["/anomalies"]


def test_actions_need_a_sign_in(pages: dict[str, str]) -> None:
    html = pages["/dead-letters/0/0"].split('id="dead-letter"')[1]
    assert "<button" not in html
    assert 'href="/sign-in?back=%2Fdead-letters%2F0%2F0"' in html


async def test_empty_board_has_all_lists(site: Site) -> None:
    for path in (*LISTS, *FORMS):
        assert "<main" in await site.page(path)


@pytest.mark.parametrize(
    ("path", "error"),
    [
        *((path, "no such address") for path in ("/nothing", "/links/ping", "/links/")),
        ("/dead-letters/0/x", "no such address"),
        *((f"/links/{name}", "no such link") for name in ("ping/no", "acme/x")),
        ("/orders/ping/no", "no such order"),
        ("/dead-letters/7/7", "no such dead letter"),
        ("/reconciliations/ping/2025-11-02", "no such day"),
    ],
)
async def test_missing_page_is_404_with_the_navigation(site: Site, path: str, error: str) -> None:
    shown = await site.page(path, 404)
    assert ("No such page" if error == "no such address" else "Not found") in shown
    assert 'href="/dead-letters"' in shown
    assert await site.get(path, 404) == {"error": error}


async def test_one_address_serves_people_and_programs(site: Site) -> None:
    fill(site)
    for path in ("/", "/links", "/orders", "/anomalies", "/dead-letters", "/links/ping/l1"):
        answer = await site.client.get(path)
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["vary"] == "Accept"
        assert "<main" in await site.page(path)


async def test_refusal_is_a_page_that_leads_back(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*_: object, **__: object) -> None:
        raise Refused("another replay is under way")

    async def replay(status: int, headers: dict[str, str], **form: str) -> str:
        answer = await site.client.post("/dead-letters/replay", data=form, headers=headers)
        assert (answer.status_code, "<main" in answer.text) == (status, True)
        return answer.text

    monkeypatch.setattr(Replays, "start", busy)
    shown = await replay(409, OWN_PAGE)
    assert "Another replay is under way." in shown
    assert 'href="/dead-letters"' in shown
    assert 'href="/dead-letters"' in await replay(422, OWN_PAGE, place="x")
    assert "did not come from a page" in await replay(403, BROWSER)
    assert "<main" in await site.page("/links", 421, READING | {"Host": "evil.example"})
    assert "Place: x/y is not" in await site.page("/dead-letters/replay?place=x/y", 422)


async def test_long_list_has_more_pages(site: Site) -> None:
    links = [site.make.status(f"n{n:03}", changed_at=AT + n) for n in range(60)]
    site.put(topics.LINK_STATUS, *links)
    first = await site.page("/links?provider=ping")
    (older,) = re.findall(r'rel="next" href="([^"]+)"', first)
    rest = await site.page("/links" + older.replace("&amp;", "&"))
    newest, oldest = (sorted(set(re.findall(r">(n\d+)<", each))) for each in (first, rest))
    assert newest == [f"n{n:03}" for n in range(10, 60)]
    assert oldest == [f"n{n:03}" for n in range(10)]


async def test_long_timeline_has_pages(site: Site) -> None:
    make = site.make
    site.put(topics.LINK_STATUS, make.status())
    events = [
        make.event(f"e{n:03}", provider_status=f"word-{n:03}", received_at=AT + n)
        for n in range(130)
    ]
    site.put(topics.LINK_EVENTS, *events)
    site.put(topics.ANOMALIES, make.anomaly("a1", at=AT + 20))
    seen: list[int] = []
    path, pages, noticed = "/links/ping/link-1", 0, 0
    while path:
        shown = (await site.page(path)).partition('id="timeline"')[2]
        seen = [int(n) for n in re.findall(r"word-(\d+)", shown)] + seen
        pages, noticed = pages + 1, noticed + shown.count('class="noticed"')
        older = re.findall(r'rel="prev" href="([^"]+)"', shown)
        path = f"/links/ping/link-1{older[0]}" if older else ""
    assert (seen, pages, noticed) == (list(range(130)), 3, 1)
    newer = re.findall(r'rel="next" href="\?upto=(\d+)"', shown)
    shown = await site.page(f"/links/ping/link-1?upto={newer[0]}")
    assert "word-010" in shown
    assert "word-069" in shown
    assert "word-129" in await site.page("/links/ping/link-1?upto=-1")


async def test_timeline_goes_from_first_callback_to_settlement(site: Site) -> None:
    make, at = site.make, [AT + n * SECOND for n in range(5)]
    site.put(topics.LINK_STATUS, make.status("l1", status="PAID", times={"PAID": at[1]}))
    events = [
        make.event("e1", "l1", status="PAID", received_at=at[0]),
        make.event("e2", "l1", status="PAID", received_at=at[1], verified=True),
        # An event that does not change the status has no label.
        make.event("e3", "l1", status="UNKNOWN", received_at=at[1], verified=True),
    ]
    site.put(topics.LINK_EVENTS, *events)
    site.put(topics.ORDERS, make.order("l1", steps={"CLOSED": at[3]}, decided_at=at[2]))
    site.put(topics.ORDER_CLOSE, {**make.close("c1", "l1"), "decided_at": at[2]})
    site.put(topics.ORDER_CORRECTIONS, {**make.correction("k1", "l1", "c1"), "decided_at": at[3]})
    site.put(topics.SETTLEMENT, make.settlement("s1", "l1", "CONFIRMED", at[4]))
    timeline = (await site.page("/links/ping/l1")).split('id="timeline"')[1]
    texts = (
        ", not verified",
        ", verified",
        "order-close",
        "order closed",
        "order-correction",
        "settlement",
    )
    positions = [timeline.index(text) for text in texts]
    assert positions == sorted(positions)
    assert timeline.count('class="changed"') == 1
    labels = re.findall(r'<p><span class="([^"]+)">([^<]+)</span>', timeline)
    assert labels[:2] == [("word ended", "claims paid"), ("word good", "paid")]
    assert "unknown" not in timeline.lower()


async def test_actions_stay_in_the_timeline_of_their_link(site: Site) -> None:
    attributes = {"by": "Ada on the page, from 127.0.0.1", "answer": "204"}
    notice = audit.action(audit.CANCEL_REQUESTED, "ping", "link-1", "done", AT + DAY, attributes)
    site.put(topics.LINK_STATUS, site.make.status())
    site.put(topics.LINK_EVENTS, site.make.event("e1"))
    site.put(topics.NOTICES, notice)
    shown = await site.page("/links/ping/link-1")
    assert re.search(r"cancel requested: done <span[^>]*>by Ada on the page, from 127", shown)
    assert "ping: 204" in shown
    (action,) = (await site.get("/links/ping/link-1"))["actions"]
    assert action["attributes"] == attributes


async def test_times_show_their_day_in_utc(site: Site) -> None:
    steps = {"CLOSED": AT + 2 * DAY, "SETTLED": AT + 3 * DAY}
    order = site.make.order("o1", state="SETTLED", steps=steps, decided_at=AT)
    site.put(topics.ORDERS, order)
    shown = await site.page("/orders/ping/o1")
    assert "2023-11-14 22:13:20 UTC" in shown
    assert re.findall(r'<li class="day">([^<]+)', shown) == ["2023-11-16", "2023-11-17"]
    site.put_dead_letters("odd")
    assert "2023-11-14 22:13:20 UTC" in await site.page("/dead-letters/0/0")


async def test_g2_link_that_is_only_authorised_says_so(site: Site) -> None:
    fields: dict[str, Any] = {"status": "PROCESSING", "claimed_status": "PAID"}
    site.put(topics.LINK_STATUS, site.make.status(reason="authorised only", **fields))
    for path in ("/", "/links", "/links/ping/link-1"):
        shown = text_of(await site.page(path))
        assert "processing authorised only" in shown
        assert "claims paid" not in shown


async def test_unpaid_link_shows_its_registered_amount(site: Site) -> None:
    registration = site.make.registration(amount_minor=250_000, currency="SEK")
    unpaid = site.make.status(amount_minor=None, currency=None, registration=registration)
    paid = site.make.status("l2", amount_minor=1, registration=registration)
    site.put(topics.LINK_STATUS, unpaid, paid)
    for path in ("/", "/links", "/links/ping/link-1"):
        assert "2,500.00 SEK" in await site.page(path)
    assert "0.01 EUR" in await site.page("/links/ping/l2")


async def test_g4_each_registration_is_in_the_timeline_with_what_it_says(site: Site) -> None:
    make = site.make
    first = make.registration(order_id="O7", amount_minor=14_000, links_in_order=2)
    moved = make.registration(order_id=HOSTILE, expires_at=AT + DAY, registered_at=AT - DAY)
    site.put(topics.LINK_STATUS, make.status("l1"))
    for event_id, registration in (("e1", first), ("e2", moved)):
        event = make.registered(event_id, registration, link_id="l1", received_at=AT)
        site.put(topics.LINK_EVENTS, event)
    page = await site.page("/links/ping/l1")
    assert HOSTILE not in page
    assert "order O7, 2 links, 140.00 EUR" in text_of(page)
    late = "expires 2023-11-15 22:13:20 UTC, registered 2023-11-13 22:13:20 UTC"
    assert late in text_of(page)


# The statuses of an order's links, what else is known of it, and what its close waits for.
CLOSES: list[tuple[list[str], dict[str, Any], str]] = [
    ([], {}, "Waits for a payment: all its links have ended unpaid."),
    (["EXPIRED"], {}, "Waits for a payment: all its links have ended unpaid."),
    (["PAID"], {}, "Waits for the worker to decide."),
    (["PAID"], {"links_in_order": 3}, "Waits for 2 more links to be registered."),
    (
        *(["PAID", "OPENED"], {"links_in_order": 3}),
        "Waits for 1 more link to be registered; for the payer of link l1.",
    ),
    (
        *(["PAID"], {"details_awaited_since": AT}),
        "API to tell the amount of link l0, silent since 2023-11-14 22:13 UTC.",
    ),
    (["OPENED"] * 7, {}, "Waits for the payer of links l0, l1, l2, l3, l4 and others."),
    (
        *(["PAID"], {"decided_at": AT, "state": "CLOSE_DECIDED"}),
        "no service has reported on order-updates that the order is closed",
    ),
]


@pytest.mark.parametrize(("statuses", "known", "text"), CLOSES)
async def test_order_and_its_links_say_why_it_is_not_closed(
    site: Site, statuses: list[str], known: dict[str, Any], text: str
) -> None:
    awaited = {"awaits_details": known.get("details_awaited_since") is not None}
    links = [site.make.order_link(f"l{n}", status=s, **awaited) for n, s in enumerate(statuses)]
    order = site.make.order("o2", links=links, **known)
    site.put(topics.LINK_STATUS, site.make.status("l0", order_id="o2", status="EXPIRED"))
    site.put(topics.ORDERS, order)
    assert text in text_of(await site.page("/orders/ping/o2"))
    link = text_of(await site.page("/links/ping/l0"))
    assert f"Order o2 {order['state'].replace('_', ' ').lower()}" in link
    assert ("Its order is not closed. Waits for" in link) is (order["decided_at"] is None)


async def test_order_that_was_closed_elsewhere_waits_for_nothing(site: Site) -> None:
    paid = site.make.order_link("l1", closed_elsewhere=True)
    order = site.make.order(
        "o1", state="CLOSED", links=[paid, site.make.order_link("l2", status="CREATED")]
    )
    site.put(topics.ORDERS, order)
    found = await site.get("/orders/ping/o1")
    assert (found["close_blockers"], found["waiting"], found["close"]) == (None, None, None)
    page = text_of(await site.page("/orders/ping/o1"))
    assert "It was closed elsewhere, before its links were imported" in page
    assert (await site.get("/orders?waits_for=any"))["orders"] == []


async def test_empty_order_waits_for_nothing(site: Site) -> None:
    empty = site.make.order("o1", state="EMPTY", moved_links={"l1": "o2"})
    site.put(topics.ORDERS, empty, site.make.order("o2", links=[site.make.order_link("l1")]))
    found = await site.get("/orders/ping/o1")
    assert (found["links"], found["moved_links"]) == ([], {"l1": "o2"})
    assert found["close_blockers"] is None
    page = text_of(await site.page("/orders/ping/o1"))
    assert "All its links left for other orders, so nothing closes it." in page
    assert "Left for another order: l1 for o2." in page
    listed = await site.get("/orders?state=EMPTY")
    assert [order["order_id"] for order in listed["orders"]] == ["o1"]


async def test_claimed_link_makes_no_order(site: Site) -> None:
    claimed = site.make.status("l1", status="UNKNOWN", claimed_status="PAID", verified=False)
    site.put(topics.LINK_STATUS, claimed)
    await site.get("/orders/ping/l1", 404)
    for path in ("/", "/links", "/links/ping/l1"):
        assert "/orders/ping/l1" not in await site.page(path)
    page = text_of(await site.page("/links/ping/l1"))
    assert "It belongs to no order until the provider confirms it, or it is registered." in page


async def test_order_that_only_a_report_knows_is_not_shown(site: Site) -> None:
    make = site.make
    reported = [make.order("o1", state="UNKNOWN"), make.order("o2", state="FAILED")]
    site.put(topics.ORDERS, *reported)
    for query in ("", "?q=o"):
        shown = await site.page(f"/orders{query}")
        assert ("/orders/ping/o1" in shown, "/orders/ping/o2" in shown) == (False, True)
    await site.get("/orders/ping/o1", 404)
    listed = await site.get("/orders?state=UNKNOWN")
    assert [order["order_id"] for order in listed["orders"]] == ["o1"]
    # A link of it is known now, and the worker has not told the order yet.
    site.put(topics.LINK_STATUS, make.status("l1", order_id="o1"))
    assert [link["link_id"] for link in (await site.get("/orders/ping/o1"))["links"]] == ["l1"]


async def test_list_of_links_shows_states_of_orders(site: Site) -> None:
    make = site.make
    links = [make.status("l1", status="PAID"), make.status("l2", order_id="o2")]
    site.put(topics.LINK_STATUS, *links, make.status("l3", order_from="AWAITED"))
    orders = [make.order("l1", state="CLOSE_DECIDED"), make.order("o2", provider="peach")]
    site.put(topics.ORDERS, *orders, make.order("l3", state="SETTLED"))
    for path in ("/", "/links?q=l"):
        cells = re.findall(r'class="order">(.*?)</td>', await site.page(path), re.DOTALL)
        assert set(map(text_of, cells)) == {
            "own order close decided waits for a payment",
            "o2",
            "not named yet",
        }


async def test_settled_order_shows_how_long_it_took(site: Site) -> None:
    times = {"decided_at": AT, "steps": {"CLOSED": AT + 120 * SECOND, "SETTLED": AT + DAY // 8}}
    links = [site.make.order_link("l1", paid_at=AT)]
    order = site.make.order("o2", state="SETTLED", links=links, closed_link_ids=["l1"], **times)
    site.put(topics.ORDERS, order)
    assert re.search(r">2 min</td>\s*<td[^>]*>2 h</td>", await site.page("/orders"))
