"""Payouts by day: the newest result of a day, for people and programs, and as a problem."""

import time

from connectors.board.database.summary import summarize
from schemas import limits, topics
from tests.connectors.board.conftest import Site
from tests.connectors.board.samples import AT

DAY = 86_400_000_000


async def test_days_are_listed_the_latest_first_with_their_newest_result(site: Site) -> None:
    make = site.make
    site.put(
        topics.RECONCILIATIONS,
        make.reconciled("2025-11-01", differences=["o1", "o2"]),
        make.reconciled("2025-11-02"),
        make.reconciled("2025-11-02", provider="peach"),
        make.reconciled("2025-11-01", differences=["o2"]),
    )
    listed = (await site.get("/reconciliations"))["reconciliations"]
    assert [(day["provider"], day["day"], day["missing"]) for day in listed] == [
        ("ping", "2025-11-02", 0),
        ("peach", "2025-11-02", 0),
        ("ping", "2025-11-01", 1),
    ]
    page = await site.get("/reconciliations?provider=ping&limit=1")
    assert [day["day"] for day in page["reconciliations"]] == ["2025-11-02"]
    rest = await site.get(f"/reconciliations?provider=ping&limit=1&cursor={page['next']}")
    assert [day["day"] for day in rest["reconciliations"]] == ["2025-11-01"]
    html = await site.page("/reconciliations")
    for text in ("1 missing", "as closed", "12.34 EUR", "0.24 EUR", "11.76 EUR"):
        assert text in html
    assert "No day." in await site.page("/reconciliations?provider=ipint")


async def test_day_shows_its_differences_and_payouts(site: Site) -> None:
    site.put(topics.RECONCILIATIONS, site.make.reconciled(differences=["o1"], missing=300))
    day = await site.get("/reconciliations/ping/2025-11-01")
    assert [row["subject"] for row in day["differences"]] == ["o1"]
    assert day["reconciled_at"] == "2023-11-14T22:13:20.000000Z"
    html = await site.page("/reconciliations/ping/2025-11-01")
    for text in ("300 missing", "/orders/ping/o1", "no known payout has o1", "B1", "And 299 more"):
        assert text in html
    assert limits.RECONCILIATION_ROWS < 300
    whole = site.make.reconciled("2025-11-02")
    site.put(topics.RECONCILIATIONS, whole)
    assert "None: every order" in await site.page("/reconciliations/ping/2025-11-02")


async def test_days_that_differ_are_a_problem_for_a_week(site: Site) -> None:
    site.put(topics.RECONCILIATIONS, site.make.reconciled(differences=["o1"]))
    site.put(topics.RECONCILIATIONS, site.make.reconciled("2025-11-02"))
    (group,) = summarize(site.store, AT + 6 * DAY).differing
    assert (group.name, group.number, group.last_at) == ("ping", 1, AT)
    assert summarize(site.store, AT + 8 * DAY).differing == []
    assert time.time_ns() // 1000 > AT + 8 * DAY
    assert "PAYOUTS_DIFFER" not in {p["kind"] for p in (await site.get("/"))["problems"]}
