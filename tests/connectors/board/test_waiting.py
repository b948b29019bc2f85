"""Why an order is not closed: one sentence, and the lists and alerts that follow from it."""

import asyncio
from contextlib import closing
from typing import Any

import pytest
from alembic import command
from prometheus_client import REGISTRY

from connectors.board.board import Board
from connectors.board.database import migrate, waiting_orders
from connectors.board.database.store import Store
from connectors.board.database.summary import summarize
from connectors.board.database.waiting import CAUSES, PATIENCE, of_link, of_order, waiting
from connectors.board.overview import overview
from connectors.board.overview.problems import problems
from connectors.triage import audit
from connectors.triage.audit import Mark
from schemas import topics
from tests.connectors.board.conftest import EACH_DATABASE, NewDatabase, Site
from tests.connectors.board.samples import AT, Make, save
from tests.support.waiting import until

HOUR = 3_600_000_000
SINCE = "2023-11-14 22:13 UTC"
PROCESSING = {"status": "PROCESSING", "times": {"CREATED": AT, "PROCESSING": AT + HOUR}}
CLAIMED = {"claimed_status": "PAID", "claimed_at": AT}
# What is known of an open link, and what its order waits for.
LINKS: list[tuple[dict[str, Any], str]] = [
    ({}, "waits for the payer of link l1"),
    (CLAIMED, f"waits for ping's API, silent since {SINCE}: link l1"),
    ({**CLAIMED, "looked_up_at": AT + 1}, "waits for the payer of link l1"),
    ({**CLAIMED, "anomalies": ["CLAIM_DENIED"]}, "waits for a person, claim denied: link l1"),
    (
        {**PROCESSING, "anomalies": ["UNDERPAID"]},
        "waits for a person, less was paid than requested: link l1",
    ),
    (
        {"anomalies": ["STALE"], "looked_up_at": AT},
        f"waits for ping's API, silent since {SINCE}: link l1 past expiry",
    ),
    (PROCESSING, "waits for ping to finish the payment of link l1"),
    (
        {**PROCESSING, "reason": "{authorised} only"},
        "waits for ping to finish the payment of link l1 ({authorised} only)",
    ),
]
# What is known of an order without open links, and what it waits for.
DECIDED = {"decided_at": AT, "state": "CLOSE_DECIDED"}
ORDERS: list[tuple[dict[str, Any], str | None]] = [
    ({"state": "FAILED", "failure": "{no} such"}, "waits for a person, a step failed: {no} such"),
    (
        DECIDED,
        "waits for our service: no service has reported on order-updates that the order is closed",
    ),
    ({**DECIDED, "settlements": {"EXPECTED": AT}}, None),
    (
        {**DECIDED, "settlements": {"REQUESTED": AT}, "steps": {"CLOSED": AT}, "state": "CLOSED"},
        "waits for our service: no service has reported on order-updates that the order is settled",
    ),
    (
        {**DECIDED, "settlements": {"REQUESTED": AT, "CONFIRMED": AT}, "steps": {"SETTLED": AT}},
        None,
    ),
    ({"state": "EMPTY"}, None),
    ({"state": "UNKNOWN"}, None),
    ({"changed_at": 10**18, "links_in_order": 1}, "waits for 1 more link to be registered"),
]


@pytest.mark.parametrize(("known", "sentence"), LINKS)
def test_open_link_says_what_its_order_waits_for(
    make: Make, known: dict[str, Any], sentence: str
) -> None:
    link = make.status("l1", **known)
    order = make.order("o", links=[make.order_link("l1", status=link["status"])])
    found = waiting(order, [link])
    assert found is not None
    assert found.reason == sentence
    part = of_link(link)
    assert found.waits_for == (part.waits_for if part else "payer",)


@pytest.mark.parametrize(("known", "sentence"), ORDERS)
def test_order_says_what_it_waits_for(
    make: Make, known: dict[str, Any], sentence: str | None
) -> None:
    order = make.order("o", **known)
    found = waiting(order, [])
    assert (found and found.reason) == sentence
    assert (found is None) is (of_order(order) is None)


def test_all_causes_are_in_one_sentence_the_most_alarming_first(make: Make) -> None:
    names = ["l1", "l2", "l3", "l4"]
    links = [make.order_link(name, status="OPENED") for name in names]
    order = make.order("o", links=links, links_in_order=6, changed_at=AT + 9)
    rows = [
        make.status("l2", **CLAIMED | {"claimed_at": AT + HOUR}),
        make.status("l3", **CLAIMED),
        make.status("l4", anomalies=["CLAIM_DENIED"]),
    ]
    found = waiting(order, rows)
    assert found is not None
    assert found.sentence == (
        f"Waits for a person, claim denied: link l4; for ping's API, silent since {SINCE}: links "
        "l2, l3; for 2 more links to be registered; for the payer of link l1."
    )
    assert found.waits_for == ("person", "provider", "service", "payer")
    assert found.since == AT


def test_time_that_no_calendar_has_breaks_no_sentence(make: Make) -> None:
    link = make.status("l1", claimed_at=2**62)
    order = make.order("o", links=[make.order_link("l1", status="OPENED")])
    found = waiting(order, [link])
    assert found is not None
    assert "silent since an unknown time" in found.reason
    assert {party for party, _ in CAUSES.values()} == {"payer", *PATIENCE}


def put_waiting_orders(site: Site) -> None:
    """Orders that wait for each party, and some that wait for no one but the payer."""
    make = site.make

    def order(name: str, at: int, status: str | None, **changes: Any) -> None:
        links = [make.order_link(f"{name}-1", status=status)] if status else []
        site.put(topics.ORDERS, make.order(name, links=links, changed_at=at, **changes))

    def link(name: str, **changes: Any) -> None:
        site.put(topics.LINK_STATUS, make.status(f"{name}-1", order_id=name, **changes))

    order("service", AT + 3 * HOUR, None, links_in_order=2)
    order("provider", AT + 9 * HOUR, "OPENED")
    link("provider", **CLAIMED | {"claimed_at": AT + 2 * HOUR})
    order("person", AT + 9 * HOUR, "OPENED")
    link("person", **CLAIMED | {"claimed_at": AT + HOUR}, anomalies=["CLAIM_DENIED"])
    site.put(topics.ANOMALIES, {**make.anomaly("a1", "person-1"), "kind": "CLAIM_DENIED"})
    order("payer", AT, "OPENED")
    link("payer")
    order("closed", AT, "PAID", decided_at=AT, state="SETTLED", settlements={"CONFIRMED": AT})
    link("closed", **CLAIMED)


def names(page: Any) -> list[str]:
    return [order["order_id"] for order in page["orders"]]


@EACH_DATABASE
async def test_waiting_orders_are_listed_the_oldest_first_by_whom_they_wait_for(site: Site) -> None:
    put_waiting_orders(site)
    every = await site.get("/orders?waits_for=any")
    assert names(every) == ["person", "provider", "service"]
    assert [order["waiting"]["since"][11:16] for order in every["orders"]] == [
        "23:13",
        "00:13",
        "01:13",
    ]
    for party in ("person", "provider", "service"):
        assert names(await site.get(f"/orders?waits_for={party}")) == [party]
    assert names(await site.get("/orders?waits_for=any&provider=peach")) == []
    first = await site.get("/orders?waits_for=any&limit=2")
    rest = await site.get(f"/orders?waits_for=any&limit=2&cursor={first['next']}")
    assert (names(first), names(rest)) == (["person", "provider"], ["service"])
    found = await site.page("/orders?waits_for=any&q=serv")
    assert 'id="ping:service"' in found
    assert 'id="ping:person"' not in found
    # The sentence is the same everywhere.
    reason = "waits for a person, claim denied: link person-1"
    assert every["orders"][0]["waiting"]["reason"] == reason
    listed = {o["order_id"]: o["waiting"] for o in (await site.get("/orders"))["orders"]}
    assert listed["person"] == every["orders"][0]["waiting"]
    assert listed["closed"] is None
    for path in ("/orders/ping/person", "/links/ping/person-1"):
        assert (await site.get(path))["waiting"] == listed["person"]
        assert f"W{reason[1:]}." in await site.page(path)
    assert reason in await site.page("/orders?waits_for=person")
    # A person has dealt with it: the order waits for its payer again.
    mark = Mark(True, "ada", AT + 5000)
    denied: Any = {**site.make.anomaly("a1", "person-1"), "kind": "CLAIM_DENIED"}
    site.put(topics.NOTICES, audit.anomaly_marked(denied, mark))
    assert names(await site.get("/orders?waits_for=any")) == ["provider", "service"]
    again = (await site.get("/orders/ping/person"))["waiting"]
    assert again["reason"] == "waits for the payer of link person-1"


@EACH_DATABASE
async def test_orders_that_wait_too_long_are_problems_and_a_metric(
    site: Site, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_waiting_orders(site)
    now = AT + 4 * HOUR + 1
    found = waiting_orders.overdue(site.store, now, PATIENCE)
    assert found == [("ping", "service", 1, AT + 3 * HOUR, False)]
    later = waiting_orders.overdue(site.store, now + 30 * HOUR, PATIENCE)
    assert [(one.waits_for, one.number) for one in later] == [
        ("person", 1),
        ("provider", 1),
        ("service", 1),
    ]
    summary = summarize(site.store, now)
    (problem,) = (p for p in problems(summary, [], None) if p.kind == "ORDERS_WAIT")
    assert problem.title == "1 order of ping waits too long for our own services"
    assert problem.href == "/orders?waits_for=service&provider=ping"
    assert [(one.thing, one.id, one.detail) for one in problem.cases] == [
        ("order", "service", "waits for 2 more links to be registered")
    ]
    monkeypatch.setattr(overview, "micros_now", lambda: now)

    def count() -> float | None:
        labels = {"provider": "ping", "waits_for": "service"}
        return REGISTRY.get_sample_value("linkstatus_orders_overdue", labels)

    watching = asyncio.create_task(board.overview.watch())
    await until(lambda: count() == 1, "the metric")
    watching.cancel()
    await asyncio.wait([watching])


@EACH_DATABASE
async def test_link_without_an_order_waits_as_the_order_it_becomes(site: Site) -> None:
    """A payment that is authorised but not captured: money waits, although no order knows it."""
    put_waiting_orders(site)
    single = {"order_id": "single", "order_from": "SELF"}
    waits = {**PROCESSING, "reason": "authorised only"}
    site.put(topics.LINK_STATUS, site.make.status("single", **single, **waits))
    expired = {"order_id": "expired", "order_from": "SELF", "status": "EXPIRED"}
    site.put(topics.LINK_STATUS, site.make.status("expired", **expired))
    every = await site.get("/orders?waits_for=provider")
    assert names(every) == ["single", "provider"]
    order = every["orders"][0]
    reason = "waits for ping to finish the payment of link single (authorised only)"
    assert (order["state"], order["stage"], order["waiting"]["reason"]) == ("OPEN", "OPEN", reason)
    first = await site.get("/orders?waits_for=any&limit=2")
    rest = await site.get(f"/orders?waits_for=any&limit=2&cursor={first['next']}")
    assert names(first) + names(rest) == ["person", "single", "provider", "service"]
    for filters, found in (
        ("state=OPEN", ["single", "provider"]),
        ("state=FAILED", []),
        ("provider=peach", []),
        ("q=sing", ["single"]),
        ("until=2020-01-01", []),
    ):
        assert names(await site.get(f"/orders?waits_for=provider&{filters}")) == found, filters
    links = {link["link_id"]: link for link in (await site.get("/links"))["links"]}
    assert links["single"]["waiting"] == order["waiting"]
    assert (links["single"]["order_state"], links["expired"]["waiting"]) == (None, None)
    late = waiting_orders.overdue(site.store, AT + 100 * HOUR, PATIENCE)
    assert ("ping", "provider", 2, AT + HOUR, False) in late


@EACH_DATABASE
def test_older_database_reads_its_orders_and_links_again(
    new_database: NewDatabase, make: Make
) -> None:
    link = make.message(topics.LINK_STATUS, make.status("l1", **CLAIMED, order_id="o"))
    links = [make.order_link("l1", status="OPENED")]
    order = make.message(topics.ORDERS, make.order("o", links=links))
    url = new_database()
    with closing(Store(url)) as store:
        save(store, [link, order, make.message(topics.ANOMALIES, make.anomaly("a1"))])
        with store.engine.begin() as connection:
            command.downgrade(migrate.config(connection), "0002")
    with closing(Store(url)) as store:
        assert {topic for topic, _ in store.positions()} == {"anomalies"}
        assert waiting_orders.search(store, "any", {}, 9).rows == []
        save(store, [link, order])
        assert [o["order_id"] for o in waiting_orders.search(store, "any", {}, 9).rows] == ["o"]
