"""Where the money is: sums by currency and day that equal a plain recomputation."""

import html
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from connectors.board.database import tables as t
from connectors.board.database.figures import FATES, of_link, of_order, of_reconciliation, stage
from connectors.board.database.projection import Message
from connectors.board.database.store import Store
from schemas import limits, topics
from schemas.records import LinkStatus
from tests.connectors.board.conftest import EACH_DATABASE, Site, empty
from tests.connectors.board.samples import AT, Make, save

DAY = 86_400_000_000
TODAY = "2023-11-14"
Sums = dict[tuple[str, ...], tuple[int, int, int]]
# As the columns of `counted_rows`.
Rows = set[tuple[str | int, ...]]

amounts = st.one_of(st.none(), st.integers(0, 10**9))
currencies = st.sampled_from(["EUR", "JPY", None])
times = st.integers(0, 3).map(lambda n: AT + n * DAY)


def sums_of(store: Store) -> Sums:
    with store.reading() as connection:
        rows = connection.execute(select(t.money)).mappings()
        return {
            (row["day"], row["currency"], row["provider"], row["measure"]): (
                *(row["number"], row["amount_minor"], row["unknown"]),
            )
            for row in rows
        }


def day(at: int) -> str:
    return f"{datetime.fromtimestamp(at // 1_000_000, UTC):%Y-%m-%d}"


def rows_of(store: Store) -> Rows:
    with store.reading() as connection:
        return {tuple(row) for row in connection.execute(select(t.counted_rows))}


def recomputed(store: Store) -> tuple[Sums, Rows]:
    """What the stored records add up to, and the rows behind it, written without the code under
    test.
    """
    sums: dict[tuple[str, ...], list[int]] = {}
    rows: Rows = set()

    def add(at: int, currency: str | None, name: str, measure: str, minor: int | None) -> None:
        entry = sums.setdefault((day(at), currency or "", "ping", measure), [0, 0, 0])
        for n, value in enumerate((1, minor or 0, int(minor is None))):
            entry[n] += value
        rows.add((measure, at, "ping", name, currency or ""))

    with store.reading() as connection:
        links = map(json.loads, connection.scalars(select(t.link_status.c.record)).all())
        orders = map(json.loads, connection.scalars(select(t.orders.c.record)).all())
        days = map(json.loads, connection.scalars(select(t.reconciliations.c.record)).all())
    for link in links:
        if link["verified"]:
            ended = link["status"] in ("PAID", "EXPIRED", "CANCELLED", "FAILED")
            fate = link["status"].lower() if ended else "open"
            name, currency = link["link_id"], link["currency"]
            add(link["first_seen_at"], currency, name, fate, link["amount_minor"])
            for refund in link["refunds"]:
                at = refund["times"]["EXECUTED"]
                add(at, currency, name, "refunded", refund["amount_minor"])
    for order in orders:
        if order["decided_at"] is not None:
            total, currency, name = order["total_minor"], order["currency"], order["order_id"]
            add(order["decided_at"], currency, name, "closed", total)
            confirmed = order["settlements"].get("CONFIRMED")
            at, measure = (
                (order["decided_at"], "awaited") if confirmed is None else (confirmed, "settled")
            )
            add(at, currency, name, measure, total)
    for one in days:
        start = datetime.fromisoformat(f"{one['day']}T00:00Z")
        at = int(start.timestamp()) * 1_000_000
        add(at, "EUR", one["day"], "paid_out", 1200)
        for _ in one["differences"]:
            add(at, "EUR", one["day"], "different", 1200 - 1234)
    return {key: (entry[0], entry[1], entry[2]) for key, entry in sums.items()}, rows


@st.composite
def records(draw: st.DrawFn) -> list[Message]:
    """What may come for a few links, orders and days, each with versions in any order."""
    make, found = Make(), []
    for _ in range(draw(st.integers(1, 12))):
        kind, name = draw(st.sampled_from("lodf")), f"n{draw(st.integers(1, 3))}"
        version, money = draw(st.integers(1, 9)), (draw(amounts), draw(currencies))
        fields: dict[str, Any] = {"version": version, "currency": money[1]}
        if kind == "l":
            status = draw(st.sampled_from(["CREATED", "PROCESSING", "PAID", "EXPIRED", "FAILED"]))
            refunds = [
                make.refund(f"r{n}", amount_minor=draw(amounts), currency=money[1])
                | {"times": {"EXECUTED": draw(times)}}
                for n in range(draw(st.integers(0, 2)))
            ]
            fields |= {"status": status, "verified": draw(st.booleans()), "refunds": refunds}
            fields |= {"amount_minor": money[0], "first_seen_at": draw(times)}
            found.append(make.message(topics.LINK_STATUS, make.status(name, **fields)))
        elif kind == "o":
            decided_at = draw(st.one_of(st.none(), times))
            confirmed = draw(st.one_of(st.just({}), st.builds(lambda at: {"CONFIRMED": at}, times)))
            fields |= {"decided_at": decided_at, "settlements": confirmed, "total_minor": money[0]}
            found.append(make.message(topics.ORDERS, make.order(name, **fields)))
        elif kind == "d":
            differences = [f"o{n}" for n in range(draw(st.integers(0, 3)))]
            reconciled = make.reconciled(f"2023-11-0{name[1]}", differences=differences)
            found.append(make.message(topics.RECONCILIATIONS, reconciled))
        else:
            tombstone = make.raw(topics.LINK_STATUS, None)
            key, timestamp = f"ping:{name}".encode(), (AT + DAY) // 1000
            found.append(replace(tombstone, key=key, timestamp=timestamp))
    return found


def batches(messages: Sequence[Message], cuts: Sequence[int]) -> Iterator[Sequence[Message]]:
    ends = sorted({cut % (len(messages) + 1) for cut in cuts} | {len(messages)})
    start = 0
    for end in ends:
        yield messages[start:end]
        start = end


@EACH_DATABASE
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    messages=records(),
    cuts=st.lists(st.integers(0, 12), max_size=4),
    repeated=st.lists(st.integers(0, 12), max_size=4),
    restart=st.booleans(),
)
def test_sums_equal_those_of_all_rows_after_any_history(
    store: Store, messages: list[Message], cuts: list[int], repeated: list[int], restart: bool
) -> None:
    empty(store)
    for batch in batches(messages, cuts):
        save(store, batch)
    assert (sums_of(store), rows_of(store)) == recomputed(store)
    if restart:  # the topics were made again: versions begin again
        store.start_over({("link-status", 0): 0}, {})
    save(store, [messages[n % len(messages)] for n in repeated])
    assert (sums_of(store), rows_of(store)) == recomputed(store)


@EACH_DATABASE
def test_two_boards_that_write_the_same_count_once(database_url: str, make: Make) -> None:
    statuses = [[make.status(f"l{n}", version=v) for n in range(50)] for v in range(1, 6)]
    messages = [make.statuses(*some) for some in statuses]
    with closing(Store(database_url)) as one, closing(Store(database_url)) as other:
        with ThreadPoolExecutor(2) as pool:
            for writer in [pool.submit(write, store, messages) for store in (one, other)]:
                writer.result()
        assert sums_of(one) == {(TODAY, "EUR", "ping", "open"): (50, 50 * 1234, 0)}
        assert {row[:3] for row in rows_of(one)} == {("open", AT, "ping")}
        assert {row[3] for row in rows_of(one)} == {f"l{n}" for n in range(50)}


def write(store: Store, batches: Sequence[Sequence[Message]]) -> None:
    for batch in batches:
        save(store, batch)


def figures(link: LinkStatus) -> dict[str, list[tuple[str, int, int]]]:
    found: dict[str, list[tuple[str, int, int]]] = {}
    for one in of_link(link):
        found.setdefault(one.measure, []).append((one.day, one.amount_minor, one.unknown))
    return found


def test_chargeback_that_comes_back_leaves_nothing_refunded(make: Make) -> None:
    refunds = [
        make.refund("c1", kind="CHARGEBACK", amount_minor=None, times={"EXECUTED": AT + DAY}),
        make.refund("c2", kind="CHARGEBACK_REVERSAL", times={"EXECUTED": AT + 2 * DAY})
        | {"amount_minor": 2000},
        make.refund("r1", amount_minor=34, times={"EXECUTED": AT + 3 * DAY}),
        make.refund("r2", state="FAILED", times={"FAILED": AT}),
    ]
    assert figures(make.status(status="PAID", refunds=refunds))["refunded"] == [
        ("2023-11-15", 1234, 0),
        ("2023-11-16", -1234, 0),
        ("2023-11-17", 34, 0),
    ]


def test_open_dispute_counts_since_its_day_and_a_refund_in_other_money_is_unknown(
    make: Make,
) -> None:
    dispute = make.refund("d1", kind="DISPUTE", state="PENDING", times={"PENDING": AT + DAY})
    other = make.refund("r1", currency="SEK")
    link = make.status(status="PAID", refunds=[dispute, other], disputed_minor=1234)
    found = figures(link)
    assert found["disputed"] == [("2023-11-15", 1234, 0)]
    assert found["refunded"] == [(TODAY, 0, 1)]
    assert "disputed" not in figures({**link, "disputed_minor": 0})


def test_unpaid_link_counts_with_its_registered_amount(make: Make) -> None:
    registration = make.registration(amount_minor=500, currency="JPY")
    (one,) = of_link(make.status(amount_minor=None, currency=None, registration=registration))
    assert one == (AT, "JPY", "open", 1, 500, 0)


def test_order_with_several_currencies_counts_in_each(make: Make) -> None:
    links = [make.order_link("l1"), make.order_link("l2", currency="JPY", amount_minor=7)]
    links.append(make.order_link("l3", currency="SEK", amount_minor=None))
    order = make.order("o1", decided_at=AT, links=links, closed_link_ids=["l1", "l2", "l3"])
    assert {(f.currency, f.amount_minor, f.unknown) for f in of_order(order)} == {
        ("EUR", 1234, 0),
        ("JPY", 7, 0),
        ("SEK", 0, 1),
    }
    assert Counter(f.measure for f in of_order(order)) == {"closed": 3, "awaited": 3}


def test_order_that_was_closed_elsewhere_is_closed_and_counts_nowhere(make: Make) -> None:
    order = make.order("o1", links=[make.order_link("l1", closed_elsewhere=True)])
    assert (stage(order), list(of_order(order))) == ("CLOSED", [])
    assert stage(make.order("o2", links=[make.order_link("l2")])) == "OPEN"


def test_differences_that_the_record_does_not_list_are_counted(make: Make) -> None:
    found = list(of_reconciliation(make.reconciled(differences=["o1"], missing=300)))
    assert [one[1:] for one in found] == [
        ("EUR", "paid_out", 1, 1200, 0),
        ("EUR", "different", 1, -34, 0),
        ("", "different", 299, 0, 299),
    ]


def put_some(site: Site) -> None:
    make = site.make
    fates = ["CREATED", "PAID", "PAID", "PAID", "FAILED", "EXPIRED", "CANCELLED"]
    links = [make.status(f"l{n}", status=fate) for n, fate in enumerate(fates)]
    site.put(topics.LINK_STATUS, *links, make.status("yen", currency="JPY", amount_minor=900))
    site.put(topics.LINK_STATUS, make.status("claim", verified=False))
    closed = {"state": "CLOSE_DECIDED", "decided_at": AT, "total_minor": 1234, "currency": "EUR"}
    settled = {**closed, "state": "SETTLED", "settlements": {"CONFIRMED": AT + DAY}}
    site.put(topics.ORDERS, make.order("o1", **closed), make.order("o2", **settled))
    site.put(topics.RECONCILIATIONS, make.reconciled("2023-11-16", differences=["o9"]))


@EACH_DATABASE
async def test_money_is_told_by_currency_and_day(site: Site) -> None:
    put_some(site)
    answer = await site.get("/money?since=2023-11-01&until=2023-11-17")
    assert (answer["since"], answer["until"]) == ("2023-11-01", "2023-11-17")
    euro, yen = answer["currencies"]
    assert (euro["currency"], yen["currency"]) == ("EUR", "JPY")
    assert [one["day"] for one in euro["days"]] == ["2023-11-16", "2023-11-15", TODAY]
    assert euro["days"][2]["open"] == {"number": 1, "amount_minor": 1234, "unknown": 0}
    assert euro["total"]["closed"] == {"number": 2, "amount_minor": 2468, "unknown": 0}
    assert euro["total"]["awaited"]["amount_minor"] == 1234
    assert euro["days"][1]["settled"]["amount_minor"] == 1234
    assert euro["days"][0]["different"] == {"number": 1, "amount_minor": -34, "unknown": 0}
    assert yen["total"]["open"] == {"number": 1, "amount_minor": 900, "unknown": 0}
    (ping,) = answer["providers"]
    assert {name: ping[name] for name in FATES} == {
        **{"open": 2, "paid": 3, "failed": 1, "expired": 1, "cancelled": 1}
    }
    assert (ping["registered"], ping["rate"]) == (8, 0.5)
    assert "settle" in ping["settled_by"]
    only = await site.get("/money?since=2023-11-15&until=2023-11-16&currency=EUR")
    assert [one["day"] for one in only["currencies"][0]["days"]] == ["2023-11-15"]
    assert (await site.get("/money?provider=peach&since=2023-11-01&until=2023-11-17")) == {
        **{"since": "2023-11-01", "until": "2023-11-17", "currencies": [], "providers": []}
    }


@EACH_DATABASE
async def test_each_figure_leads_to_rows_behind_it(site: Site) -> None:
    put_some(site)
    page = await site.page("/money?since=2023-11-01&until=2023-11-17&provider=ping")
    found = re.findall(
        r'<a href="(/[^"]+)">([\d,]+)(?: (?:link|order|refund|payout|difference)s?)?</a>', page
    )
    assert len(found) == 14 + len(FATES)
    for href, number in found:
        answer = await site.get(html.unescape(href))
        (rows,) = [value for value in answer.values() if isinstance(value, list)]
        assert len(rows) == int(number), href


@EACH_DATABASE
async def test_rows_behind_a_figure_are_filtered_and_come_page_by_page(site: Site) -> None:
    make, names = site.make, [f"l{n}" for n in range(5)]
    links = [make.status(n, first_seen_at=AT + i, status="PAID") for i, n in enumerate(names)]
    twice = [make.refund("r1"), make.refund("r2", times={"EXECUTED": AT + DAY})]
    links += [make.status("x", currency=None, status="PAID"), make.status("back", refunds=twice)]
    site.put(topics.LINK_STATUS, *links)

    async def ids(query: str) -> list[str]:
        return [link["link_id"] for link in (await site.get(f"/links?{query}"))["links"]]

    newest_first = "counts_as=paid&currency=EUR&limit=2"
    page = await site.get(f"/links?{newest_first}")
    assert [link["link_id"] for link in page["links"]] == ["l4", "l3"]
    assert await ids(f"{newest_first}&cursor={page['next']}") == ["l2", "l1"]
    assert await ids("counts_as=paid&currency=XXX") == ["x"]
    assert set(await ids("counts_as=paid")) == {*names, "x"}
    assert await ids("counts_as=paid&q=l3&status=PAID&provider=ping") == ["l3"]
    assert await ids("counts_as=paid&provider=peach") == []
    assert await ids("counts_as=refunded") == ["back"]
    assert await ids(f"counts_as=refunded&since={day(AT + DAY)}") == ["back"]
    assert await ids(f"counts_as=refunded&since={day(AT + 2 * DAY)}") == []


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("links?currency=EUR", "currency: needs counts_as, too"),
        ("orders?since=2025-01-02&until=2025-01-02", "until: is not after since"),
        ("money?since=2025-01-02&until=2025-01-01", "until: is not after since"),
        ("orders?counts_as=closed&waits_for=any", "waits_for: choose it, or counts_as"),
        ("orders?counts_as=paid", "counts_as: is not one of 'closed', 'awaited', 'settled'"),
    ],
)
async def test_filter_that_is_no_figure_is_an_error(site: Site, query: str, error: str) -> None:
    assert error in (await site.get(f"/{query}", 422))["error"]
    assert error in html.unescape(await site.page(f"/{query}"))


async def test_page_shows_money_with_the_digits_of_its_currency(site: Site) -> None:
    put_some(site)
    page = await site.page("/money?since=2023-11-01&until=2023-11-17")
    for text in ("24.68", "-0.34", ">900<", "50.0%", "Unknown", "/money.csv?since=2023-11-01"):
        assert (text in page) is (text != "Unknown"), text
    assert "No money on these days." in await site.page("/money")


@pytest.mark.parametrize(("until", "status"), [("2025-01-01", 200), ("2025-01-02", 422)])
async def test_a_view_has_at_most_a_leap_year(site: Site, until: str, status: int) -> None:
    assert limits.MONEY_DAYS == 366
    answer = await site.get(f"/money?since=2024-01-01&until={until}", status)
    assert status == 200 or "more than 366 days" in answer["error"]
    page = await site.page(f"/money?since=2024-01-01&until={until}")
    assert ("more than 366 days" in page) is (status == 422)
