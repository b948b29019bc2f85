"""What comes after the payment, on the whole way: refunds, a return, a dispute, a reversal."""

from collections import Counter
from typing import Any

import pytest

from connectors.kafka.cluster import Cluster
from connectors.providers.registry import PROVIDERS
from schemas.refund_records import Refund
from schemas.topics import REFUNDS
from streams import consume
from tests.e2e.system import System
from tests.e2e.test_anomalies import await_idle, publish_again
from tests.support.reading import values
from tests.support.sandboxing import Providers
from tests.support.waiting import until_sync

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

PAYMENT = ("payment_created", "executed", "settled", "creditable", "fulfilled")
PEACH_PAYMENT = ("opened", "processing", "completed")
# The example callbacks name this link, and a refund of its payment.
EXAMPLE_LINK, EXAMPLE_REFUND = "aKiW35RWSyF", "56bbff79-0385-4c6f-9d8d-0a1b9f5c7e21"


def pay(providers: Providers, system: System, link_id: str, *then: str) -> None:
    """Let a link at TrueLayer be paid, and its order close; then take further steps."""
    providers.move("truelayer", providers.create("truelayer", link_id), *PAYMENT)
    system.wait_for(f"/orders/truelayer/{link_id}", lambda order: bool(order["close"]))
    providers.move("truelayer", link_id, *then)


def of_link(cluster: Cluster, link_id: str) -> list[Refund]:
    """Return the events about a link, in their order."""
    return [refund for refund in values(cluster, REFUNDS) if refund["link_id"] == link_id]


def states(cluster: Cluster, link_id: str) -> list[tuple[str, str, int | None, int | None]]:
    """Return kind, state, amount and what remains, of each event about a link."""
    return [
        (refund["kind"], refund["state"], refund["amount_minor"], refund["net_minor"])
        for refund in of_link(cluster, link_id)
    ]


def money(row: Any) -> tuple[int | None, int | None, int | None]:
    return row["refunded_minor"], row["disputed_minor"], row["net_minor"]


def test_partial_refund_reaches_topic_row_order_and_status(
    providers: Providers, system: System, cluster: Cluster
) -> None:
    pay(providers, system, "R1", "refunded_in_part")
    row = system.wait_for("/links/truelayer/R1", lambda row: row["refunded_minor"] == 5000)
    assert (row["status"], row["coverage"], row["anomalies"]) == ("PAID", "PAID", [])
    assert money(row) == (5000, 0, 5000)
    order = system.get("/orders/truelayer/R1")
    assert order["money_back"]["net_minor"] == 5000
    assert [refund["amount_minor"] for refund in order["refunds"]] == [5000]
    # One event, with the amount that only the API tells.
    (refund,) = of_link(cluster, "R1")
    assert states(cluster, "R1") == [("REFUND", "EXECUTED", 5000, 5000)]
    assert (refund["order_id"], refund["currency"], refund["payment_id"]) == (
        *("R1", "GBP"),
        row["payment_id"],
    )
    text = system.run("status", "truelayer", "R1")
    assert "refunded 50.00 GBP, remains 50.00 GBP" in text


def test_refunds_are_consumed_by_a_service_with_types(cluster: Cluster, system: System) -> None:
    with consume(REFUNDS, group="accounts", cluster=cluster, until_end=True) as records:
        refunds = {record.event_id: record.value for record in records}
    assert {refund["link_id"] for refund in refunds.values()} >= {"R1"}
    assert all(refund["event_id"] == event_id for event_id, refund in refunds.items())


def test_executed_refund_that_comes_back_is_told_twice_and_shown_to_people(
    providers: Providers, system: System, cluster: Cluster
) -> None:
    pay(providers, system, "R2", "refunded")
    system.wait_for("/links/truelayer/R2", lambda row: row["refunded_minor"] == 10_000)
    until_sync(lambda: len(of_link(cluster, "R2")) == 1, "the refund on its topic")
    (refund,) = of_link(cluster, "R2")
    providers.move("truelayer", "R2", "refund_returned")
    row = system.wait_for("/links/truelayer/R2", lambda row: row["anomalies"] == ["REFUND_FAILED"])
    row = system.wait_for(
        "/links/truelayer/R2", lambda row: len(row["refunds"]) == 2 and row["net_minor"] == 0
    )
    (returned,) = [r for r in row["refunds"] if r["refund_id"] != refund["refund_id"]]
    assert (returned["state"], returned["reason"]) == ("RETURNED", "returned")
    until_sync(lambda: states(cluster, "R2")[-1][1] == "RETURNED", "its return on the topic")
    (detail,) = system.wait_for("/links/truelayer/R2", lambda row: bool(row["anomaly_details"]))[
        "anomaly_details"
    ]
    assert f"refund {returned['refund_id']} of 100.00 GBP came back: returned" in detail["detail"]


def test_failed_refund_leaves_the_money_and_is_an_anomaly(
    providers: Providers, system: System, cluster: Cluster
) -> None:
    pay(providers, system, "R3", "refund_failed")
    row = system.wait_for("/links/truelayer/R3", lambda row: bool(row["anomaly_details"]))
    assert money(row) == (0, 0, 10_000)
    assert "of 100.00 GBP failed: insufficient_funds" in row["anomaly_details"][0]["detail"]
    assert states(cluster, "R3") == [("REFUND", "FAILED", 10_000, 10_000)]


def test_dispute_and_reversal_of_a_payment(
    providers: Providers, system: System, cluster: Cluster
) -> None:
    pay(providers, system, "R4", "disputed")
    row = system.wait_for("/links/truelayer/R4", lambda row: row["anomalies"] == ["DISPUTED"])
    assert (row["status"], *money(row)) == ("PAID", 0, 10_000, 10_000)
    problems = {problem["kind"]: problem for problem in system.get("/")["problems"]}
    assert problems["DISPUTED"]["urgent"]
    providers.move("truelayer", "R4", "reversed")
    row = system.wait_for("/links/truelayer/R4", lambda row: row["refunded_minor"] == 10_000)
    assert (row["status"], *money(row)) == ("PAID", 10_000, 0, 0)
    assert row["anomalies"] == ["DISPUTED", "PAYMENT_REVERSED"]
    until_sync(lambda: len(of_link(cluster, "R4")) == 2, "both events")
    assert states(cluster, "R4") == [
        ("DISPUTE", "PENDING", 10_000, 10_000),
        ("REVERSAL", "EXECUTED", 10_000, 0),
    ]
    order = system.get("/orders/truelayer/R4")
    assert (order["state"], len(order["settlements"])) != ("OPEN", 0)


def test_refund_that_comes_before_its_payment_waits_for_the_link(
    system: System, cluster: Cluster
) -> None:
    for name in ("refund_executed", "payment_created", "payment_settled"):
        assert system.run("send", "truelayer", "--example", name).split()[-1] == "200"
    path = f"/links/truelayer/{EXAMPLE_LINK}"
    row = system.wait_for(path, lambda row: row["refunded_minor"] == 4000)
    assert money(row) == (4000, 0, 10_000)
    until_sync(lambda: len(of_link(cluster, EXAMPLE_LINK)) == 1, "the refund on its topic")
    (refund,) = of_link(cluster, EXAMPLE_LINK)
    assert (refund["refund_id"], refund["amount_minor"]) == (EXAMPLE_REFUND, 4000)


def test_payout_belongs_to_the_payment_in_its_metadata(
    providers: Providers, system: System, cluster: Cluster
) -> None:
    pay(providers, system, "R5", "paid_out")
    system.wait_for("/links/truelayer/R5", lambda row: row["refunded_minor"] == 10_000)
    until_sync(lambda: states(cluster, "R5") == [("PAYOUT", "EXECUTED", 10_000, 0)], "the payout")


@pytest.mark.parametrize(
    ("step", "expected", "anomalies"),
    [
        ("refunded_in_part", ("REFUND", "EXECUTED", 5000, 5000), []),
        ("refund_rejected", ("REFUND", "FAILED", 10_000, 10_000), ["REFUND_FAILED"]),
        ("charged_back", ("CHARGEBACK", "EXECUTED", 10_000, 0), ["DISPUTED"]),
    ],
)
def test_peach_reports_refunds_and_chargebacks_by_its_checkout(
    providers: Providers,
    system: System,
    cluster: Cluster,
    step: str,
    expected: tuple[str, str, int, int],
    anomalies: list[str],
) -> None:
    link_id = f"P-{step}"
    providers.move("peach", providers.create("peach", link_id), *PEACH_PAYMENT, step)
    row = system.wait_for(f"/links/peach/{link_id}", lambda row: bool(row["refunds"]))
    row = system.wait_for(f"/links/peach/{link_id}", lambda row: row["net_minor"] == expected[3])
    assert row["anomalies"] == anomalies
    until_sync(lambda: states(cluster, link_id) == [expected], "the event")


def test_ping_shows_a_refund_in_the_answer_to_a_lookup(
    providers: Providers, system: System, cluster: Cluster
) -> None:
    providers.move("ping", providers.create("ping", "G1", order_id="g1"), "COMPLETED", "REFUNDED")
    row = system.wait_for("/links/ping/G1", lambda row: row["refunded_minor"] == 10_000)
    assert money(row) == (10_000, 0, 0)
    until_sync(lambda: states(cluster, "G1") == [("REFUND", "EXECUTED", 10_000, 0)], "the event")
    assert of_link(cluster, "G1")[0]["order_id"] == "g1"


def test_refund_that_is_made_at_ping_is_seen_by_a_lookup_on_request(
    providers: Providers, system: System, cluster: Cluster
) -> None:
    providers.move("ping", providers.create("ping", "G2", order_id="g2"), "COMPLETED")
    system.wait_for("/orders/ping/g2", lambda order: order["state"] == "SETTLED")
    providers.move("ping", "G2", "REFUNDED")
    assert system.run("links", "lookup", "ping", "G2") == ""
    system.wait_for("/links/ping/G2", lambda row: row["refunded_minor"] == 10_000)
    until_sync(lambda: states(cluster, "G2") == [("REFUND", "EXECUTED", 10_000, 0)], "the event")


def test_repeated_inputs_publish_nothing_again(system: System, cluster: Cluster) -> None:
    await_idle(system, cluster)
    before = Counter(refund["event_id"] for refund in values(cluster, REFUNDS))
    assert set(before.values()) == {1}
    publish_again(cluster, ["links", *(f"callbacks.{name}" for name in PROVIDERS)])
    await_idle(system, cluster)
    assert Counter(refund["event_id"] for refund in values(cluster, REFUNDS)) == before


def test_rebuild_gives_the_same_refunds(system: System, cluster: Cluster) -> None:
    await_idle(system, cluster)
    assert "refunds" in system.run("rebuild", f"{cluster.prefix}again.")
