"""Every kind of anomaly, provoked at the simulated providers: with its evidence, and once."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, get_args

import httpx
import pytest
from confluent_kafka import Producer

from connectors import producing
from connectors.kafka import Cluster
from connectors.registry import PROVIDERS
from schemas.codec import ANOMALY, ORDER_CLOSE
from schemas.records import AnomalyKind
from streams.engine.batch import headers_of
from tests.reading import read_all, write_all
from tests.sandboxing import Providers, metric
from tests.system import System
from tests.waiting import until_sync

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

LONG_AGO = "2026-01-01T00:00:00Z"


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    system = System(tmp_path_factory.mktemp("system")).start()
    yield system
    system.stop()


@pytest.fixture(scope="module")
def cluster(system: System) -> Cluster:
    return Cluster(system.environment["LINKSTATUS_BROKERS"], system.prefix)


@pytest.fixture(scope="module")
def at(system: System) -> Providers:
    return Providers(system)


def paid_after_end(at: Providers, system: System) -> None:
    at.move("peach", at.create("peach", "A1"), "opened", "expired", "completed")


def conflicting_end(at: Providers, system: System) -> None:
    at.move("peach", at.create("peach", "A2"), "expired", "cancelled")


def underpaid(at: Providers, system: System) -> None:
    at.move("ipint", at.create("ipint", "A3"), "UNDERPAID")


def overpaid(at: Providers, system: System) -> None:
    at.move("ipint", at.create("ipint", "A4"), "OVERPAID")


def second_payment(at: Providers, system: System) -> None:
    once = ("payment_created", "executed", "settled")
    at.move("truelayer", at.create("truelayer", "A5"), *once)
    system.see("/orders/truelayer/A5", lambda order: bool(order["close"]))
    at.move("truelayer", "A5", *once)


def payment_reversed(at: Providers, system: System) -> None:
    at.move("truelayer", at.create("truelayer", "A6"), "payment_created", "executed", "failed")


def claim_denied(at: Providers, system: System) -> None:
    at.call_back("ping", payment_link_id="A7", status="COMPLETED")


def unknown_status(at: Providers, system: System) -> None:
    at.call_back("ping", payment_link_id="A8", status="EXPLODED")


def amount_mismatch(at: Providers, system: System) -> None:
    at.register("peach", "A9", amount="10.00", currency="ZAR")
    at.move("peach", at.create("peach", "A9", amount_minor=1250), "completed")


def mixed_currencies(at: Providers, system: System) -> None:
    for link_id, currency in (("A10", "ZAR"), ("A11", "KES")):
        said = {"amount": "10.00", "currency": currency, "links_in_order": 2}
        at.register("peach", link_id, order_id="mixed", **said)
        at.move(
            "peach", at.create("peach", link_id, amount_minor=1000, currency=currency), "completed"
        )


def stale(at: Providers, system: System) -> None:
    at.create("ipint", "A12")
    at.register("ipint", "A12", expires_at=LONG_AGO)


def late_link(at: Providers, system: System) -> None:
    at.register("peach", "A13", order_id="late")
    at.move("peach", at.create("peach", "A13"), "completed")
    system.see("/orders/peach/late", lambda order: bool(order["close"]))
    at.register("peach", "A14", order_id="late", amount="5.00", currency="ZAR")
    system.see("/links/peach/A14", lambda row: row["order_id"] == "late")
    until_sync(lambda: bool(told(system, "A14")), "the link that turned up late")
    at.move("peach", at.create("peach", "A14", amount_minor=500), "completed")


def late_registration(at: Providers, system: System) -> None:
    at.move("peach", at.create("peach", "A15"), "completed")
    system.see("/orders/peach/A15", lambda order: bool(order["close"]))
    at.register("peach", "A15", order_id="elsewhere")


def told(system: System, link_id: str) -> list[dict[str, Any]]:
    found = system.get("/anomalies?limit=500")["anomalies"]
    return [one for one in found if one["link_id"] == link_id]


Provoke = Callable[[Providers, System], None]
# How it is provoked; the kind, the link, and what the detail must say, one entry an anomaly.
CASES: list[tuple[Provoke, AnomalyKind, str, list[str]]] = [
    (paid_after_end, "PAID_AFTER_END", "A1", ["EXPIRED", "PAID"]),
    (conflicting_end, "CONFLICTING_END", "A2", ["CANCELLED", "EXPIRED"]),
    (underpaid, "UNDERPAID", "A3", ["asked 100.00 INR, received ", " INR ["]),
    (overpaid, "OVERPAID", "A4", ["asked 100.00 INR, received ", " INR ["]),
    (second_payment, "SECOND_PAYMENT", "A5", ["payments: "]),
    (payment_reversed, "PAYMENT_REVERSED", "A6", [" executed, failed"]),
    (claim_denied, "CLAIM_DENIED", "A7", ["claimed PAID, the provider says not found"]),
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
    (late_registration, "LATE_LINK", "A15", ["in order A15", "registered elsewhere"]),
]


@pytest.mark.parametrize(
    ("provoke", "kind", "link_id", "evidence"), CASES, ids=[case[0].__name__ for case in CASES]
)
def test_an_anomaly_is_told_with_its_evidence(
    at: Providers,
    system: System,
    provoke: Provoke,
    kind: AnomalyKind,
    link_id: str,
    evidence: list[str],
) -> None:
    provoke(at, system)

    def seen() -> bool:
        details = [one["detail"] for one in told(system, link_id) if one["kind"] == kind]
        return any(all(part in detail for part in evidence) for detail in details)

    until_sync(seen, f"{kind} of {link_id}: {told(system, link_id)}")


def test_every_kind_is_among_the_cases() -> None:
    assert {case[1] for case in CASES} == {*get_args(AnomalyKind)} - {"UNKNOWN"}


def test_a_late_link_closes_nothing_a_second_time(system: System) -> None:
    order = system.see("/orders/peach/late", lambda order: len(order["links"]) == 2)
    assert [link["link_id"] for link in order["close"]["links"]] == ["A13"]
    assert system.see("/links/peach/A15", lambda row: row["anomalies"])["order_id"] == "A15"


def test_each_is_told_once_however_often_everything_comes_again(
    system: System, cluster: Cluster
) -> None:
    """Every callback, answer and registration is published twice more."""
    await_quiet(system, cluster)
    before = ids(cluster)
    assert set(before.values()) == {1}
    topics = ["links", *(f"callbacks.{name}" for name in PROVIDERS)]
    for _ in range(2):
        publish_again(cluster, topics)
        await_quiet(system, cluster)
    after = ids(cluster)
    assert after.keys() == before.keys()
    # An unknown word changes no row that could remember it: its repeats carry the same id.
    words = {one["event_id"] for one in told(system, "A8")}
    assert {event_id for event_id, count in after.items() if count > 1} <= words
    assert len(told(system, "A8")) == 1


def ids(cluster: Cluster) -> Counter[str]:
    return Counter(ANOMALY.decode(m.value())["event_id"] for m in read_all(cluster, "anomalies"))


def publish_again(cluster: Cluster, topics: list[str]) -> None:
    producer = Producer(producing.settings(cluster))
    for topic in topics:
        for message in read_all(cluster, topic):
            headers: Any = headers_of(message)
            producer.produce(cluster.topic(topic), message.value(), message.key(), headers=headers)
    assert producer.flush(30) == 0


STAGES = {
    "normalize": ["links", "order-updates", *(f"callbacks.{name}" for name in PROVIDERS)],
    "join": ["payment-events"],
    "track": ["link-events"],
    "orders": ["order-events"],
}


def await_quiet(system: System, cluster: Cluster) -> None:
    """Until every stage has committed all that is there for it, one after the other."""
    for stage, topics in STAGES.items():
        there = sum(len(read_all(cluster, topic)) for topic in topics)
        until_sync(
            lambda: committed(system, stage) >= there,  # noqa: B023
            f"{stage} to have committed {there} records",
        )


def test_at_rest_nothing_waits(system: System, cluster: Cluster) -> None:
    """Markers of transactions stand behind the last records; they are no records."""
    await_quiet(system, cluster)
    for stage in STAGES:
        until_sync(
            lambda: metric(system, "work", "linkstatus_stage_lag_records", stage=stage) == 0,  # noqa: B023
            f"{stage} to have nothing waiting",
        )


def committed(system: System, stage: str) -> float:
    return metric(system, "work", "linkstatus_stage_records_total", stage=stage)


def test_a_link_whose_callback_never_comes_is_repaired_by_polling(
    at: Providers, system: System
) -> None:
    """iPint tells of no cancellation."""
    before = repairs(system)
    at.register("ipint", at.create("ipint", "P1"))
    at.move("ipint", "P1", "CANCELLED")
    row = system.see(
        "/links/ipint/P1",
        lambda row: (
            row["status"] == "CANCELLED"
            and "poll" in {event["source"] for event in row["timeline"]}
        ),
    )
    assert row["claims"] == {}
    # Counted once it has committed: the board may be faster.
    until_sync(lambda: repairs(system) > before, "the repair to be counted")
    assert repairs(system) == before + 1


def repairs(system: System) -> float:
    return metric(system, "work", "linkstatus_repairs_total", provider="ipint")


def test_a_close_waits_until_the_orders_other_payment_has_ended(
    at: Providers, system: System
) -> None:
    """Ping answers 403 until then; meanwhile nothing has failed."""
    at.create("ping", "W1", order_id="waits")
    unheard = at.create_unheard_at_ping("waits")
    at.move("ping", unheard, "PENDING")
    at.move("ping", "W1", "COMPLETED")
    system.see("/orders/ping/waits", lambda order: bool(order["close"]))
    until_sync(lambda: 403 in answers(at), "Ping to refuse the close")
    system.see("/orders/ping/waits", lambda order: order["state"] == "CLOSE_DECIDED")
    at.move("ping", unheard, "CANCELLED")
    order = system.see("/orders/ping/waits", lambda order: order["state"] == "SETTLED")
    assert order["failure"] is None
    assert [code for code in answers(at) if code == 204] == [204, 204, 204]


def answers(at: Providers) -> list[int]:
    return [entry["answer"] for entry in at.log("ping", "waits")]


def test_all_that_came_in_gives_the_same_once_more(system: System, cluster: Cluster) -> None:
    """With late links, repeats, claims, polls and payments that wait for their links."""
    await_quiet(system, cluster)
    rebuilt = system.run("rebuild", f"{cluster.prefix}again.")
    print(rebuilt.stdout, rebuilt.stderr)
    assert rebuilt.returncode == 0, rebuilt.stdout + rebuilt.stderr


def test_an_order_that_ping_refuses_shows_on_the_board_with_its_words(
    system: System, cluster: Cluster
) -> None:
    close = ORDER_CLOSE.encode(
        {
            "event_id": "e",
            "provider": "ping",
            "order_id": "unknown-to-ping",
            "links": [],
            "total_minor": None,
            "currency": None,
            "decided_at": time.time_ns() // 1000,
        }
    )
    write_all(cluster, "order-close", [(b"ping:unknown-to-ping", close)])
    order = system.see("/orders/ping/unknown-to-ping", lambda order: order["state"] == "FAILED")
    words = "CLOSE answered 404: not_found not found"
    assert order["failure"] == words
    page = httpx.get(f"{system.url}/orders?state=FAILED", headers={"accept": "text/html"})
    assert words in page.text
