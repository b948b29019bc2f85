"""Refunds and disputes on the pages and in the JSON of a link and its order."""

from typing import Any

import pytest

from connectors.board.overview.money_back import money_back
from schemas import topics
from schemas.records import LinkStatus
from tests.connectors.board.conftest import Site
from tests.connectors.board.samples import AT, Make

GONE: dict[str, Any] = {"refunded_minor": 234, "disputed_minor": 0, "net_minor": 1000}


def paid(make: Make, link_id: str, **changes: Any) -> LinkStatus:
    money = {"refunded_minor": 0, "disputed_minor": 0, "net_minor": 1234}
    return make.status(link_id, **{"status": "PAID", "order_id": "o1", **money, **changes})


def put_refunds(site: Site) -> None:
    make = site.make
    returned = make.refund(
        "r2", state="RETURNED", reason="<b>returned</b>", times={"EXECUTED": AT - 5, "FAILED": AT}
    )
    disputed = make.refund("p2", kind="DISPUTE", state="PENDING", amount_minor=None, currency=None)
    site.put(
        topics.LINK_STATUS,
        paid(make, "l1", refunds=[make.refund("r1"), returned], **GONE),
        paid(make, "l2", refunds=[{**disputed, "times": {"PENDING": AT + 1}}], disputed_minor=1234),
        paid(make, "l3", order_from="AWAITED", refunded_minor=None),
        make.status("l4", order_id="o1", refunded_minor=0),
    )
    fact = {name: make.refund("r1")[name] for name in ("refund_id", "kind", "state", "payment_id")}
    refund = {**fact, "amount_minor": 234, "currency": "EUR"}
    refunded = make.event("e1", "l1", status="UNKNOWN", verified=True, refund=refund)
    site.put(topics.LINK_EVENTS, {**refunded, "provider_status": "refund_executed"})


async def test_order_sums_what_went_back_from_its_links(site: Site) -> None:
    put_refunds(site)
    found = await site.get("/orders/ping/o1")
    assert found["money_back"] == {
        "currency": "EUR",
        "refunded_minor": 234,
        "disputed_minor": 1234,
        "net_minor": 2234,
    }
    names = [
        (refund["link_id"], refund["refund_id"], refund["state"]) for refund in found["refunds"]
    ]
    assert names == [("l1", "r2", "RETURNED"), ("l1", "r1", "EXECUTED"), ("l2", "p2", "PENDING")]
    shown = await site.page("/orders/ping/o1")
    for text in (
        *("<dt>Refunded</dt><dd>2.34 EUR", "<dt>Disputed</dt><dd>12.34 EUR"),
        *("<dt>Remains</dt><dd>22.34 EUR", "&lt;b&gt;returned&lt;/b&gt;", "the payment"),
        *('href="/links/ping/l2"', '<span class="word bad">returned</span>'),
    ):
        assert text in shown, text


async def test_link_shows_its_refunds_and_the_events_about_them(site: Site) -> None:
    put_refunds(site)
    link = await site.get("/links/ping/l1")
    assert (link["refunded_minor"], link["net_minor"]) == (234, 1000)
    assert link["refunds"][1]["times"] == {
        "EXECUTED": "2023-11-14T22:13:19.999995Z",
        "FAILED": "2023-11-14T22:13:20.000000Z",
    }
    shown = await site.page("/links/ping/l1")
    assert "<dt>Remains</dt><dd>10.00 EUR" in shown
    assert "<dt>Disputed</dt>" not in shown
    timeline = shown.split('id="timeline"')[1]
    assert '<span class="word ended">refund executed</span>' in timeline
    assert '<span class="amount">2.34 EUR</span>' in timeline


async def test_link_that_keeps_its_money_shows_no_refunds(site: Site) -> None:
    site.put(topics.LINK_STATUS, paid(site.make, "l1"))
    for path in ("/links/ping/l1", "/orders/ping/o1"):
        shown = await site.page(path)
        assert "After the payment" not in shown
        assert "<dt>Refunded</dt>" not in shown


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([{}, {}], ("EUR", 0, 0, 2468)),
        ([GONE, {"status": "EXPIRED", **GONE}], ("EUR", 234, 0, 1000)),
        ([GONE, {"net_minor": None}], ("EUR", 234, 0, None)),
        ([{}, {"currency": "SEK"}], (None, None, None, None)),
        ([], (None, 0, 0, 0)),
    ],
    ids=["nothing", "unpaid", "unknown", "currencies", "no link"],
)
def test_sums_of_paid_links(
    changes: list[dict[str, Any]], expected: tuple[str | None, int | None, int | None, int | None]
) -> None:
    make = Make()
    back = money_back([paid(make, f"l{n}", **change) for n, change in enumerate(changes)])
    assert (back.currency, back.refunded_minor, back.disputed_minor, back.net_minor) == expected


def test_link_of_an_older_release_has_no_known_money() -> None:
    row: Any = paid(Make(), "l1")
    for name in ("refunds", "refunded_minor", "disputed_minor", "net_minor"):
        del row[name]
    assert money_back([row]).net_minor is None
