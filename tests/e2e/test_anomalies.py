"""Every kind of anomaly, provoked at the simulated providers: raised once, with its evidence."""

import time
from collections import Counter
from collections.abc import Callable
from typing import Any, get_args

import httpx
import pytest
from confluent_kafka import Producer

from connectors.kafka import sync_producer
from connectors.kafka.cluster import Cluster
from connectors.providers.registry import PROVIDERS
from schemas.codec import ORDER_CLOSE
from schemas.headers import headers_of
from schemas.records import AnomalyKind, OrderClose
from schemas.topics import ANOMALIES
from schemas.topics import ORDER_CLOSE as ORDER_CLOSES
from streams.agents.stages import STAGE, inputs
from tests.e2e.system import System
from tests.support.codecs import CODECS
from tests.support.reading import read_all, values, write_all
from tests.support.sandboxing import Providers, metric
from tests.support.waiting import until_sync

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

LONG_AGO = "2026-01-01T00:00:00Z"
DETAILS_SECONDS = 3


@pytest.fixture(scope="module")
def settings() -> dict[str, str]:
    return {"LINKSTATUS_LOOKUPS__DETAILS_SECONDS": str(DETAILS_SECONDS)}


def paid_after_end(providers: Providers, system: System) -> None:
    providers.move("peach", providers.create("peach", "A1"), "opened", "expired", "completed")


def conflicting_end(providers: Providers, system: System) -> None:
    providers.move("peach", providers.create("peach", "A2"), "expired", "cancelled")


def underpaid(providers: Providers, system: System) -> None:
    providers.move("ipint", providers.create("ipint", "A3"), "UNDERPAID")


def overpaid(providers: Providers, system: System) -> None:
    providers.move("ipint", providers.create("ipint", "A4"), "OVERPAID")


def second_payment(providers: Providers, system: System) -> None:
    payment = ("payment_created", "executed", "settled")
    providers.move("truelayer", providers.create("truelayer", "A5"), *payment)
    system.wait_for("/orders/truelayer/A5", lambda order: bool(order["close"]))
    providers.move("truelayer", "A5", *payment)


def payment_reversed(providers: Providers, system: System) -> None:
    providers.move(
        "truelayer", providers.create("truelayer", "A6"), "payment_created", "executed", "failed"
    )


def refund_failed(providers: Providers, system: System) -> None:
    paid = ("payment_created", "executed", "settled")
    providers.move("truelayer", providers.create("truelayer", "A26"), *paid, "refund_returned")


def disputed(providers: Providers, system: System) -> None:
    paid = ("opened", "processing", "completed")
    providers.move("peach", providers.create("peach", "A27"), *paid, "charged_back")


def refund_exceeds_payment(providers: Providers, system: System) -> None:
    paid = ("opened", "processing", "completed")
    refunds = ("refunded", "refunded_in_part")
    providers.move("peach", providers.create("peach", "A28"), *paid, *refunds)


def claim_denied(providers: Providers, system: System) -> None:
    providers.call_back("ping", payment_link_id="A7", status="COMPLETED")


def unknown_status(providers: Providers, system: System) -> None:
    providers.call_back("ping", payment_link_id="A8", status="EXPLODED")


def amount_mismatch(providers: Providers, system: System) -> None:
    providers.register("peach", "A9", amount="10.00", currency="ZAR")
    providers.move("peach", providers.create("peach", "A9", amount_minor=1250), "completed")


def mixed_currencies(providers: Providers, system: System) -> None:
    for link_id, currency in (("A10", "ZAR"), ("A11", "KES")):
        fields = {"amount": "10.00", "currency": currency, "links_in_order": 2}
        providers.register("peach", link_id, order_id="mixed", **fields)
        providers.move(
            "peach",
            providers.create("peach", link_id, amount_minor=1000, currency=currency),
            "completed",
        )


def stale(providers: Providers, system: System) -> None:
    providers.create("ipint", "A12")
    providers.register("ipint", "A12", expires_at=LONG_AGO)


def late_link(providers: Providers, system: System) -> None:
    providers.register("peach", "A13", order_id="late")
    providers.move("peach", providers.create("peach", "A13"), "completed")
    system.wait_for("/orders/peach/late", lambda order: bool(order["close"]))
    providers.register("peach", "A14", order_id="late", amount="5.00", currency="ZAR")
    system.wait_for("/links/peach/A14", lambda row: row["order_id"] == "late")
    until_sync(lambda: bool(anomalies(system, "A14")), "the anomaly of the late link")
    providers.move("peach", providers.create("peach", "A14", amount_minor=500), "completed")


def late_registration(providers: Providers, system: System) -> None:
    providers.move("peach", providers.create("peach", "A15"), "completed")
    system.wait_for("/orders/peach/A15", lambda order: bool(order["close"]))
    providers.register("peach", "A15", order_id="elsewhere")


def late_registration_at_ping(providers: Providers, system: System) -> None:
    """Ping's order counts, and the merchant still learns of the mistake."""
    providers.move("ping", providers.create("ping", "A29", order_id="O29"), "COMPLETED")
    system.wait_for("/orders/ping/O29", lambda order: bool(order["close"]))
    providers.register("ping", "A29", order_id="elsewhere")


def amount_unknown(providers: Providers, system: System) -> None:
    providers.register("truelayer", providers.create("truelayer", "A16", amount_minor=1250))
    providers.move("truelayer", "A16", "payment_created")
    system.wait_for(
        "/links/truelayer/A16", lambda row: row["registration"] and row["status"] == "PROCESSING"
    )
    providers.go_down("truelayer", 3 * DETAILS_SECONDS)
    providers.move("truelayer", "A16", "executed", "settled")


def anomalies(system: System, link_id: str) -> list[dict[str, Any]]:
    page = system.get("/anomalies?limit=500")
    return [each for each in page["anomalies"] if each["link_id"] == link_id]


Provoke = Callable[[Providers, System], None]
# How it is provoked, its kind, its link, and texts that the detail must have.
CASES: list[tuple[Provoke, AnomalyKind, str, list[str]]] = [
    (paid_after_end, "PAID_AFTER_END", "A1", ["EXPIRED", "PAID"]),
    (conflicting_end, "CONFLICTING_END", "A2", ["CANCELLED", "EXPIRED"]),
    (underpaid, "UNDERPAID", "A3", ["asked 100.00 INR, received ", " INR ["]),
    (overpaid, "OVERPAID", "A4", ["asked 100.00 INR, received ", " INR ["]),
    (second_payment, "SECOND_PAYMENT", "A5", ["payments: "]),
    (payment_reversed, "PAYMENT_REVERSED", "A6", [" executed, failed"]),
    (refund_failed, "REFUND_FAILED", "A26", ["refund ", " of 100.00 GBP came back: returned ["]),
    (disputed, "DISPUTED", "A27", ["chargeback ", " of 100.00 ZAR ["]),
    (
        refund_exceeds_payment,
        "REFUND_EXCEEDS_PAYMENT",
        "A28",
        ["paid 100.00 ZAR, refunded 150.00 ZAR ["],
    ),
    (claim_denied, "CLAIM_DENIED", "A7", ["claimed PAID, but the provider reports not found"]),
    (unknown_status, "UNKNOWN_STATUS", "A8", ["unknown status 'EXPLODED'"]),
    (amount_mismatch, "AMOUNT_MISMATCH", "A9", ["registered 10.00 ZAR, paid 12.50 ZAR"]),
    (mixed_currencies, "AMOUNT_MISMATCH", "A10", ["A10 10.00 ZAR, A11 10.00 KES"]),
    (stale, "STALE", "A12", ["expired at 2026-01-01T00:00:00Z and still "]),
    (
        late_link,
        "LATE_LINK",
        "A14",
        ["order late was closed at ", " with A13", "PAID with 5.00 ZAR"],
    ),
    (late_registration, "LATE_LINK", "A15", ["in order A15", "registered for elsewhere"]),
    (
        *(late_registration_at_ping, "LATE_LINK", "A29"),
        ["paid in order O29, then registered for elsewhere ["],
    ),
    (
        *(amount_unknown, "AMOUNT_UNKNOWN", "A16"),
        ["order A16 was closed without the amount of A16: it was asked for"],
    ),
]


@pytest.mark.parametrize(
    ("provoke", "kind", "link_id", "evidence"), CASES, ids=[case[0].__name__ for case in CASES]
)
def test_anomaly_is_raised_with_its_evidence(
    providers: Providers,
    system: System,
    provoke: Provoke,
    kind: AnomalyKind,
    link_id: str,
    evidence: list[str],
) -> None:
    provoke(providers, system)

    def is_raised() -> bool:
        details = [each["detail"] for each in anomalies(system, link_id) if each["kind"] == kind]
        return any(all(part in detail for part in evidence) for detail in details)

    until_sync(is_raised, f"{kind} of {link_id}: {anomalies(system, link_id)}")


def test_cases_have_every_kind() -> None:
    assert {case[1] for case in CASES} == {*get_args(AnomalyKind)} - {"UNKNOWN"}


def test_late_link_causes_no_second_close(system: System) -> None:
    order = system.wait_for("/orders/peach/late", lambda order: len(order["links"]) == 2)
    assert [link["link_id"] for link in order["close"]["links"]] == ["A13"]
    assert system.wait_for("/links/peach/A15", lambda row: row["anomalies"])["order_id"] == "A15"


def test_g4_link_that_moves_leaves_an_empty_order(
    providers: Providers, system: System, cluster: Cluster
) -> None:
    for order_id, amount in (("O30", "10.00"), ("O31", "12.50")):
        fields = {"order_id": order_id, "amount": amount, "currency": "ZAR"}
        providers.register("peach", "A30", **fields)
        system.wait_for(f"/orders/peach/{order_id}", lambda order: order["state"] == "OPEN")
    left = system.wait_for("/orders/peach/O30", lambda order: order["state"] == "EMPTY")
    assert (left["links"], left["moved_links"]) == ([], {"A30": "O31"})
    assert left["close_blockers"] is None
    providers.move("peach", providers.create("peach", "A30", amount_minor=1250), "completed")
    order = system.wait_for("/orders/peach/O31", lambda order: bool(order["close"]))
    assert order["total_minor"] == 1250
    events = system.get("/links/peach/A30")["timeline"]
    registered = [
        (r["order_id"], r["amount_minor"]) for event in events if (r := event["registration"])
    ]
    assert registered == [("O30", 1000), ("O31", 1250)]
    closed = {close["order_id"] for close in values(cluster, ORDER_CLOSES)}
    assert closed & {"O30", "O31"} == {"O31"}


def test_g1_amount_that_comes_after_the_close_corrects_it(system: System, cluster: Cluster) -> None:
    order = system.wait_for("/orders/truelayer/A16", lambda order: bool(order["corrections"]))
    (correction,), close = order["corrections"], order["close"]
    (settlement,) = order["settlements"]
    assert (close["total_minor"], settlement["amount_minor"]) == (None, None)
    assert (correction["total_minor"], correction["currency"]) == (1250, "GBP")
    assert correction["corrects"] == [close["event_id"], settlement["event_id"]]
    assert order["total_minor"] == 1250
    closes = [c["event_id"] for c in values(cluster, ORDER_CLOSES) if c["order_id"] == "A16"]
    assert closes == [close["event_id"]]


def test_anomaly_is_raised_once_when_all_inputs_are_repeated(
    system: System, cluster: Cluster
) -> None:
    await_idle(system, cluster)
    before = ids(cluster)
    assert set(before.values()) == {1}
    topics = ["links", *(f"callbacks.{name}" for name in PROVIDERS)]
    for _ in range(2):
        publish_again(cluster, topics)
        await_idle(system, cluster)
    after = ids(cluster)
    assert after.keys() == before.keys()
    # No row remembers an unknown status, so its anomaly is repeated, with the same id.
    repeatable = {each["event_id"] for each in anomalies(system, "A8")}
    assert {event_id for event_id, count in after.items() if count > 1} <= repeatable
    assert len(anomalies(system, "A8")) == 1
    assert system.get("/links/ping/A8") is None, "an unknown status makes no row"


def ids(cluster: Cluster) -> Counter[str]:
    return Counter(anomaly["event_id"] for anomaly in values(cluster, ANOMALIES))


def publish_again(cluster: Cluster, topics: list[str]) -> None:
    producer = Producer(sync_producer.settings(cluster))
    for topic in topics:
        for message in read_all(cluster, topic):
            headers: Any = headers_of(message)
            producer.produce(cluster.topic(topic), message.value(), message.key(), headers=headers)
    assert producer.flush(30) == 0


def await_idle(system: System, cluster: Cluster) -> None:
    """Wait until the worker has committed every record of its inputs."""
    names = [topic.name for topics in inputs(PROVIDERS).values() for topic in topics]

    def is_idle() -> bool:
        count = sum(len(read_all(cluster, name)) for name in names)
        return metric(system, "work", "linkstatus_stage_records_total", stage=STAGE) >= count

    until_sync(is_idle, "the worker to have committed all records")


def test_idle_worker_has_no_lag(system: System, cluster: Cluster) -> None:
    """Transaction markers after the last record are no lag."""
    await_idle(system, cluster)
    until_sync(
        lambda: metric(system, "work", "linkstatus_stage_lag_records", stage=STAGE) == 0, "no lag"
    )


def test_polling_repairs_a_link_whose_callback_never_comes(
    providers: Providers, system: System
) -> None:
    """iPint sends no callback for a cancellation."""
    before = repairs(system)
    providers.register("ipint", providers.create("ipint", "P1"))
    providers.move("ipint", "P1", "CANCELLED")
    row = system.wait_for(
        "/links/ipint/P1",
        lambda row: (
            row["status"] == "CANCELLED"
            and "poll" in {event["source"] for event in row["timeline"]}
        ),
    )
    assert row["claims"] == {}
    # The metric follows the commit, and the board may be faster.
    until_sync(lambda: repairs(system) > before, "the repair to be counted")
    assert repairs(system) == before + 1


def repairs(system: System) -> float:
    return metric(system, "work", "linkstatus_repairs_total", provider="ipint")


def test_close_waits_for_the_end_of_the_orders_other_payment(
    providers: Providers, system: System
) -> None:
    """Ping answers 403 until then, and the order is not FAILED."""
    providers.create("ping", "W1", order_id="waits")
    other = providers.create_without_callbacks_at_ping("waits")
    providers.move("ping", other, "PENDING")
    providers.move("ping", "W1", "COMPLETED")
    system.wait_for("/orders/ping/waits", lambda order: bool(order["close"]))
    until_sync(lambda: 403 in ping_answers(providers), "Ping to refuse the close")
    system.wait_for("/orders/ping/waits", lambda order: order["state"] == "CLOSE_DECIDED")
    providers.move("ping", other, "CANCELLED")
    order = system.wait_for("/orders/ping/waits", lambda order: order["state"] == "SETTLED")
    assert order["failure"] is None
    assert [code for code in ping_answers(providers) if code == 204] == [204, 204, 204]


def ping_answers(providers: Providers) -> list[int]:
    return [entry["answer"] for entry in providers.log("ping", "waits")]


def test_rebuild_gives_the_same_result(system: System, cluster: Cluster) -> None:
    """The inputs have late links, repeats, claims, polls and payments that wait for a link."""
    await_idle(system, cluster)
    print(system.run("rebuild", f"{cluster.prefix}again."))


def test_order_that_ping_refuses_shows_on_the_board_with_the_reason(
    system: System, cluster: Cluster
) -> None:
    record: OrderClose = {
        "event_id": "e",
        "provider": "ping",
        "order_id": "unknown-to-ping",
        "links": [],
        "total_minor": None,
        "currency": None,
        "decided_at": time.time_ns() // 1000,
    }
    close = CODECS.encode(ORDER_CLOSE, record)
    write_all(cluster, "order-close", [(b"ping:unknown-to-ping", close)])
    order = system.wait_for(
        "/orders/ping/unknown-to-ping", lambda order: order["state"] == "FAILED"
    )
    reason = "CLOSE answered 404: not_found not found"
    assert order["failure"] == reason
    page = httpx.get(f"{system.url}/orders?state=FAILED", headers={"accept": "text/html"})
    assert reason in page.text
