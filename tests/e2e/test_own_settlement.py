"""Without `settle`, the program in docs/orders.md drives orders; links come in three ways."""

import sys
from pathlib import Path

import pytest

from connectors.kafka.cluster import Cluster
from schemas.codec import LINK_REGISTERED, ORDER_UPDATE
from schemas.records import LinkRegistered, OrderUpdate
from schemas.topics import LINKS
from streams.local import subprocesses
from tests.e2e.system import System
from tests.support.codecs import CODECS
from tests.support.documents import ROOT, blocks
from tests.support.reading import values, write_all
from tests.support.sandboxing import Providers

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

(CONSUMER,) = (block for block in blocks("python") if "SPLIT" in block)


@pytest.fixture(scope="module")
def settings() -> dict[str, str]:
    return {"LINKSTATUS_SETTLE": "false"}


def test_documented_consumer_drives_an_order_to_its_settlement(
    system: System, providers: Providers, tmp_path: Path
) -> None:
    assert len(CONSUMER.splitlines()) <= 20
    assert all(process.cmdline()[-1:] != ["settle"] for process in system.family())
    providers.move("ping", providers.create("ping", "L1", order_id="O1"), "COMPLETED")
    order = system.wait_for(
        "/orders/ping/O1", lambda order: order["close"] and order["state"] == "CLOSE_DECIDED"
    )
    assert order["settlements"] == []
    without_prefix = '}, ""\n'
    assert without_prefix in CONSUMER
    program = CONSUMER.replace(without_prefix, f'}}, "{system.prefix}"\n')
    environment = system.environment | {"PYTHONPATH": str(ROOT)}
    shop = subprocesses.spawn([sys.executable, "-c", program], tmp_path / "log", environment)
    try:
        order = system.wait_for(
            "/orders/ping/O1",
            lambda order: order["state"] == "SETTLED" and len(order["settlements"]) == 2,
        )
    finally:
        subprocesses.stop(shop, 10)
    assert {each["kind"] for each in order["settlements"]} == {"REQUESTED", "CONFIRMED"}
    assert set(order["steps"]) == {"CLOSED", "SPLIT", "SETTLED"}
    assert order["durations"]["paid_to_closed_seconds"] >= 0
    assert providers.log("ping", "O1") == []


def test_reported_refusal_shows_its_reason_until_the_next_step(
    system: System, providers: Providers, cluster: Cluster
) -> None:
    providers.move("ping", providers.create("ping", "L2", order_id="O2"), "COMPLETED")
    system.wait_for("/orders/ping/O2", lambda order: bool(order["close"]))
    report(cluster, "O2", "FAILED", "not before the month ends")
    order = system.wait_for("/orders/ping/O2", lambda order: order["state"] == "FAILED")
    assert order["failure"] == "not before the month ends"
    report(cluster, "O2", "CLOSED", None)
    system.wait_for(
        "/orders/ping/O2", lambda order: (order["state"], order["failure"]) == ("CLOSED", None)
    )


def report(cluster: Cluster, order_id: str, step: str, reason: str | None) -> None:
    record: OrderUpdate = {
        "provider": "ping",
        "order_id": order_id,
        "step": step,  # type: ignore[typeddict-item]
        "reason": reason,
        "at": 1_700_000_000_000_000,
    }
    update = CODECS.encode(ORDER_UPDATE, record)
    write_all(cluster, "order-updates", [(f"ping:{order_id}".encode(), update)])


def test_three_ways_to_register_a_link_lead_to_the_same_row(
    system: System, providers: Providers, cluster: Cluster, tmp_path: Path
) -> None:
    fields = {"amount": "12.50", "currency": "ZAR", "expires_at": "2030-01-02T03:04:05Z"}
    providers.register("peach", "R1", order_id="O7", links_in_order=3, **fields)
    file = tmp_path / "links.csv"
    file.write_text(
        "provider,link_id,order_id,links_in_order,amount,currency,expires_at\n"
        "peach,R2,O7,3,12.50,ZAR,2030-01-02T03:04:05Z\n"
    )
    system.run("links", "add", str(file))
    registered = {link["link_id"]: link for link in values(cluster, LINKS)}
    record: LinkRegistered = {**registered["R1"], "link_id": "R3"}
    third = CODECS.encode(LINK_REGISTERED, record)
    write_all(cluster, "links", [(b"peach:R3", third)])
    rows = [
        system.wait_for(f"/links/peach/R{n}", lambda row: bool(row["order_id"])) for n in (1, 2, 3)
    ]
    individual = {"link_id", "first_seen_at", "changed_at", "times", "timeline"}
    # A lookup of the first link may come before the last link is registered.
    individual |= {"looked_up_at", "version", "waiting"}
    for row in rows:
        del row["registration"]["registered_at"]
    contents = [{name: row[name] for name in row.keys() - individual} for row in rows]
    assert contents[0] == contents[1] == contents[2]
    assert contents[0]["registration"]["amount_minor"] == 1250
    order = system.wait_for("/orders/peach/O7", lambda order: len(order["links"]) == 3)
    assert (order["links_in_order"], order["close"]) == (3, None)
    assert order["waiting"]["reason"] == "waits for the payer of links R1, R2, R3"
