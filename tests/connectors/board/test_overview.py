"""The first page: what flows, what is wrong and what to do about it."""

import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from connectors.board.board import Board
from connectors.board.database.projection import Message
from connectors.board.database.store import Store
from connectors.board.database.summary import Summary, summarize
from connectors.board.http.parameters import KINDS
from connectors.board.overview.problems import ANOMALIES, problems
from connectors.board.overview.process_health import ProcessHealth
from connectors.board.overview.refused_callbacks import REASONS
from connectors.serialize import rfc3339
from connectors.triage import audit
from connectors.triage.audit import Mark
from connectors.triage.dead_letter import DeadLetter, Place
from schemas import topics
from streams.verify import Difference, Verification
from tests.connectors.board.conftest import Site
from tests.connectors.board.samples import AT, save
from tests.support.waiting import until_sync

MINUTE = 60_000_000


async def test_page_and_json_report_the_same_problems(site: Site) -> None:
    at, make = time.time_ns() // 1000, site.make
    site.put(topics.LINK_STATUS, make.status("l1", status="PAID"), make.status("l2"))
    # Unreadable for years: no person can correct it now.
    site.put(topics.LINK_EVENTS, make.event("e1", "l1", received_at=at), b"?")
    site.put(topics.ANOMALIES, make.anomaly("a1", "l1"))
    site.put_dead_letters("unknown status")
    save(site.store, [Message("orders", 0, 7, at // 1000, b"ping:o1", b"?")])
    answer = await site.get("/")
    assert [(problem["kind"], problem["urgent"]) for problem in answer["problems"]] == [
        ("BEHIND", True),
        ("DEAD_LETTERS", True),
        ("UNREADABLE", False),
        ("UNDERPAID", False),
    ]
    assert answer["problems"][1]["href"] == "/dead-letters?show=open"
    assert answer["providers"]["ping"] == {
        "provider": None,
        "links": {"PAID": 1, "CREATED": 1},
        "events_within_hour": 1,
        "last_event_at": rfc3339(at),
    }
    assert answer["providers"]["truelayer"]["links"] == {}
    assert (answer["anomalies_open"], answer["dead_letters_open"]) == (1, 1)
    page = await site.page("/")
    for text in (
        *("4 problems need you", "not connected to Kafka yet", "linkstatus doctor"),
        *("1 open dead letter", "unknown status (1)", "The payer paid less than requested."),
        *("The board could not read 1 record of its topics within a day", "orders/0/7: "),
    ):
        assert text in page


async def test_problem_names_its_latest_cases_with_amount_and_reason(site: Site) -> None:
    make = site.make
    site.put(topics.LINK_STATUS, *(make.status(f"l{n}") for n in range(4)))
    for n in range(4):
        stale = make.anomaly(f"s{n}", f"l{n}", AT + n) | {
            "kind": "STALE",
            "detail": "silent [a/0/1]",
        }
        site.put(topics.ANOMALIES, stale)
    site.put(topics.ANOMALIES, make.anomaly("u", "l1"))
    failed = {"state": "FAILED", "failure": "no such order", "total_minor": 500, "currency": "EUR"}
    site.put(topics.ORDERS, make.order("o/1", **failed))
    site.put_dead_letters("no JSON", "no JSON")
    problems = {one["kind"]: one["cases"] for one in (await site.get("/"))["problems"]}
    assert problems["STALE"] == [
        {"thing": "link", "provider": "ping", "id": f"l{n}", "detail": "12.34 EUR, silent"}
        for n in (3, 2, 1)
    ]
    assert [case["detail"] for case in problems["UNDERPAID"]] == ["received 1.00 of 12.34 EUR"]
    (order,), (letter,) = problems["ORDER_FAILED"], problems["DEAD_LETTERS"]
    assert (order["id"], order["detail"]) == ("o/1", "5.00 EUR, no such order")
    assert (letter["id"], letter["detail"]) == ("0/1", "no JSON (2)")
    page = await site.page("/")
    for href in ("/links/ping/l3", "/orders/ping/o%2F1", "/dead-letters/0/1"):
        assert f'href="{href}"' in page


async def test_payouts_that_differ_are_a_problem_of_their_provider(site: Site) -> None:
    at = time.time_ns() // 1000
    differing = [
        site.make.reconciled(day, differences=["o1"]) for day in ("2025-11-01", "2025-11-02")
    ]
    messages = [site.make.message(topics.RECONCILIATIONS, one) for one in differing]
    save(site.store, [replace(message, timestamp=at // 1000) for message in messages])
    (problem,) = (p for p in (await site.get("/"))["problems"] if p["kind"] == "PAYOUTS_DIFFER")
    assert problem["title"] == "Payouts of ping differ from what was closed on 2 days"
    assert (problem["href"], problem["urgent"]) == ("/reconciliations?provider=ping", False)
    assert [(one["id"], one["detail"]) for one in problem["cases"]] == [
        ("o1", "missing: closed 12.34 EUR, paid out 12.00 EUR")
    ]


async def test_refused_callbacks_are_on_the_page_with_reason_count_last_time_and_advice(
    site: Site,
) -> None:
    def problem(answer: Any) -> Any:
        (one,) = (p for p in answer["problems"] if p["kind"] == "CALLBACKS_REFUSED")
        return one

    at, make = time.time_ns() // 1000, site.make
    lately: dict[str, Any] = {"hour": at - at % (60 * MINUTE), "last_at": at}
    site.put(topics.REFUSED_CALLBACKS, make.refused("signature", 1, **lately, detail="too old"))
    one = problem(await site.get("/"))
    assert one["title"] == (
        "1 callback of ping got the answer 401 within a day: the signature is missing or wrong"
    )
    assert (one["urgent"], one["detail"], one["last_at"]) == (False, "too old", rfc3339(at))
    assert "LINKSTATUS_PING__" in one["advice"]
    # The process counts on, another one has ended, and earlier hours count, too.
    early: dict[str, Any] = {"hour": at - 50 * 60 * MINUTE, "last_at": at - 50 * 60 * MINUTE}
    site.put(
        topics.REFUSED_CALLBACKS,
        *(make.refused("signature", n, **lately) for n in (9, 4)),
        make.refused("signature", 2, "e2", **lately | {"last_at": at - MINUTE}),
        make.refused("signature", 5, "e2", **early),
        make.refused("kafka", 1, answer=503, **early),
        make.refused("kafka", 7, answer=503),
    )
    refused = list(summarize(site.store, at).refused)
    assert [(r.reason, r.number, r.number_within_day) for r in refused] == [
        ("signature", 16, 11),
        ("kafka", 1, 0),
    ]
    found = problems(summarize(site.store, at), [], None)
    assert [p.title[:12] for p in found] == ["11 callbacks"]


def test_requests_of_strangers_are_one_problem(site: Site) -> None:
    at, make = time.time_ns() // 1000, site.make
    lately: dict[str, Any] = {"hour": at - at % (60 * MINUTE), "last_at": at}
    stranger = {"provider": "unknown", **lately}
    site.put(topics.REFUSED_CALLBACKS, make.refused("path", 3, answer=404, **stranger))
    (one,) = problems(summarize(site.store, at), [], None)
    assert one.title.startswith("3 callbacks of no known provider got the answer 404")
    site.put(
        topics.REFUSED_CALLBACKS,
        make.refused("malformed", 4, answer=400, **stranger),
        make.refused("address", 5, **stranger),
        make.refused("signature", 1, **lately),
    )
    titles = sorted(one.title for one in problems(summarize(site.store, at), [], None))
    assert titles == [
        "1 callback of ping got the answer 401 within a day: the signature is missing or wrong",
        "12 requests of no known provider were refused within a day, for 3 reasons",
    ]


def test_every_reason_has_meaning_and_advice_and_is_documented() -> None:
    document = (Path(__file__).parents[3] / "docs/operating.md").read_text()
    for reason, (meaning, advice) in REASONS.items():
        assert f"`{reason}`" in document
        assert meaning
        assert advice.endswith(".")


def test_events_are_counted_by_the_minute(site: Site) -> None:
    at = AT + 30 * MINUTE
    ages = {"e0": 0, "e1": 0, "e2": 5, "e3": 59, "e4": 61}
    events = [site.make.event(name, received_at=at - age * MINUTE) for name, age in ages.items()]
    site.put(topics.LINK_EVENTS, *events)
    recent = summarize(site.store, at).events["ping"]
    assert {n: count for n, count in enumerate(recent.by_minute) if count} == {0: 1, 54: 1, 59: 2}
    assert recent.last_at == at


def test_every_anomaly_has_meaning_and_advice() -> None:
    assert set(ANOMALIES) == set(KINDS)
    assert all(text.endswith(".") for texts in ANOMALIES.values() for text in texts)


@pytest.mark.parametrize(
    ("health", "kind", "text"),
    [
        (ProcessHealth("work", "unreachable", "refused"), "DOWN", "work does not answer"),
        (ProcessHealth("work", "not_ready", "no partitions"), "NOT_READY", "no partitions"),
        (
            ProcessHealth("lookup", "ready", providers_down=("ping",)),
            *("PROVIDER_DOWN", "LINKSTATUS_PING__"),
        ),
        (
            ProcessHealth("notify", "ready", endpoints_down=("crm",), lag={"crm": 7}),
            *("ENDPOINT_DOWN", "endpoint crm takes no events up to 7 events wait .*NOTIFY__"),
        ),
        (ProcessHealth("work", "ready", lag={"track": 9000}), "LAG", "9,000 records wait"),
    ],
)
async def test_unhealthy_process_is_a_problem_with_advice(
    site: Site, board: Board, health: ProcessHealth, kind: str, text: str
) -> None:
    board.monitor.processes = [health, ProcessHealth("settle", "ready", started_at=AT)]
    (problem,) = problems(summarize(site.store, AT), board.monitor.processes, None)
    assert problem.kind == kind
    assert re.search(text, f"{problem.title} {problem.detail} {problem.advice}")
    listed = (await site.get("/processes"))["processes"]
    assert (listed[0]["state"], listed[0]["lag"]) == (health.state, health.lag)
    assert listed[1] == {
        **{"name": "settle", "state": "ready", "reason": "", "lag": {}},
        **{"providers_down": [], "endpoints_down": []},
        "started_at": "2023-11-14T22:13:20.000000Z",
    }
    shown = "endpoint crm takes no events now" in await site.page("/processes")
    assert shown is (kind == "ENDPOINT_DOWN")


async def test_only_open_rows_are_problems_however_old_and_urgent_ones_come_first(
    site: Site,
) -> None:
    def kinds() -> list[str]:
        found = problems(summarize(site.store, AT + 10**15), [], "cannot read from Kafka")
        return [problem.kind for problem in found]

    make, mark = site.make, Mark(True, "ada", AT + 5000)
    assert problems(summarize(site.store, AT), [ProcessHealth("work", "ready")], None) == []
    site.put(topics.ORDERS, make.order("o", state="FAILED"))
    reversed_payment = make.anomaly("a2") | {"kind": "PAYMENT_REVERSED"}
    site.put(topics.ANOMALIES, make.anomaly("a1"), reversed_payment)
    site.put_dead_letters("forged", "unknown status")
    urgent = ["BEHIND", "ORDER_FAILED", "DEAD_LETTERS"]
    assert kinds() == [*urgent, "PAYMENT_REVERSED", "UNDERPAID"]
    letters = [DeadLetter(Place(0, n), AT, None, (), b"x") for n in range(2)]
    marks = [audit.dead_letter_marked(letter, mark) for letter in letters]
    site.put(topics.NOTICES, audit.anomaly_marked(reversed_payment, mark), marks[0])
    assert kinds() == [*urgent, "UNDERPAID"]
    shown = await site.page("/")
    for text in ("The payer paid less", "1 open dead letter", "unknown status (1)"):
        assert text in shown
    for text in ("was reversed", "forged"):
        assert text not in shown
    site.put(topics.NOTICES, marks[1])
    assert kinds() == ["BEHIND", "ORDER_FAILED", "UNDERPAID"]


def test_requests_of_one_time_share_a_summary_and_do_not_wait_for_a_slow_one(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    overview, go_on = board.overview, threading.Event()
    made: list[int] = []

    def slow(store: Store, now: int, _: object) -> Summary:
        made.append(now)
        assert go_on.wait(20)
        return summarize(store, now)

    monkeypatch.setattr("connectors.board.overview.overview.summarize", slow)
    with ThreadPoolExecutor(5) as pool:
        waiting = [pool.submit(overview.summary) for _ in range(5)]
        until_sync(lambda: bool(made), "the first summary")
        go_on.set()
        (first,) = {id(each.result()) for each in waiting}
    assert len(made) == 1
    overview._took, overview._valid_until = 1.0, time.monotonic()
    go_on.clear()
    assert {id(overview.summary()) for _ in range(5)} == {first}
    until_sync(lambda: len(made) == 2, "the next summary")
    go_on.set()
    until_sync(lambda: id(overview.summary()) != first, "its end")


async def test_last_verification_is_on_the_page_and_its_differences_are_a_problem(
    site: Site,
) -> None:
    counts = {name: 5 for name in ("callbacks", "links", "closes", "settlements")}
    good = Verification(counts)
    bad = Verification(counts, [Difference("an order that closed more than once", "ping:o1")])
    site.put(topics.NOTICES, bad.notice("ada", AT), good.notice("bob", AT - 1))
    answer = await site.get("/")
    verified = answer["verified"]
    assert (verified["status"], verified["attributes"]["by"]) == ("differs", "ada")
    (problem,) = (one for one in answer["problems"] if one["kind"] == "TOPICS_DIFFER")
    assert problem["title"] == "`linkstatus verify` found 1 difference on the topics"
    assert problem["detail"] == "an order that closed more than once: ping:o1"
    assert "5 callbacks, 5 links" in await site.page("/")
    assert "ping:o1" in await site.page(problem["href"])
