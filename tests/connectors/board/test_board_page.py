"""The first page: complete, harmless with hostile content, and free of foreign hosts."""

import re

import httpx
import pytest

from connectors.board.keep import keep
from connectors.board.page import STATIC, age, money, took
from connectors.board.store import Store
from schemas import topics
from tests.connectors.board.samples import AT, Make

HOSTILE = "<script>alert(1)</script>"


def fill(store: Store, make: Make) -> None:
    keep(
        store,
        [
            *make.statuses(
                make.status("l1", status="PAID"),
                make.status("l2", provider="peach", claimed_status="PAID"),
                make.status(HOSTILE, provider="ipint", order_from="AWAITED"),
            ),
            make.message(topics.ORDERS, make.order("o1", state="SETTLED", failure=HOSTILE)),
            make.message(topics.ANOMALIES, make.anomaly("a1")),
            make.raw(topics.DEAD_LETTERS, b"x", {"reason": HOSTILE}),
            make.raw(topics.LINK_EVENTS, b"?"),
        ],
    )


async def test_an_empty_board_has_a_page(client: httpx.AsyncClient) -> None:
    answer = await client.get("/")
    assert answer.status_code == 200
    assert answer.text.count("None") == 4


async def test_the_page_shows_all_there_is(
    client: httpx.AsyncClient, store: Store, make: Make
) -> None:
    fill(store, make)
    page = (await client.get("/")).text
    for shown in ("l1", "claims PAID", "12.34 EUR", "SETTLED", "UNDERPAID", "awaited"):
        assert shown in page
    assert "1 records on the topics could not be read" in page


async def test_the_page_narrows_to_a_provider_and_status(
    client: httpx.AsyncClient, store: Store, make: Make
) -> None:
    fill(store, make)
    page = (await client.get("/?provider=ping&status=PAID")).text
    assert "/links/ping/l1" in page
    assert "/links/peach/l2" not in page


async def test_what_senders_wrote_is_only_text(
    client: httpx.AsyncClient, store: Store, make: Make
) -> None:
    fill(store, make)
    page = (await client.get("/")).text
    assert HOSTILE not in page
    assert "/links/ipint/%3Cscript%3Ealert%281%29%3C%2Fscript%3E" in page


async def test_the_page_needs_nothing_from_elsewhere(
    client: httpx.AsyncClient, store: Store, make: Make
) -> None:
    fill(store, make)
    page = (await client.get("/")).text
    assert not re.search(r"https?://|<style|style=|onclick|<script>", page)
    for asset in re.findall(r'(?:src|href)="(/static/[^"]+)"', page):
        assert (await client.get(asset)).status_code == 200
    for file in STATIC.iterdir():
        hosts = set(re.findall(r"https?://[\w.]+", file.read_text()))
        assert hosts <= {"http://www.w3.org"}, file.name


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


async def test_a_refused_order_shows_the_providers_words_and_a_settled_one_how_long_it_took(
    client: httpx.AsyncClient, store: Store, make: Make
) -> None:
    words = "SPLIT answered 404: not_found not found"
    paid = make.order_link("l1", paid_at=AT)
    steps = {"CLOSED": AT + 120 * 1_000_000, "SETTLED": AT + 3 * 3_600_000_000}
    settled = make.order(
        "o2", state="SETTLED", links=[paid], closed_link_ids=["l1"], decided_at=AT, steps=steps
    )
    refused = make.order("o1", state="FAILED", failure=words)
    keep(store, [make.message(topics.ORDERS, order) for order in (refused, settled)])
    page = (await client.get("/")).text
    assert words in page
    assert re.search(r"<td>2 min</td>\s*<td>2 h</td>", page)
