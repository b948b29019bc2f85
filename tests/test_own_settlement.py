"""Without `settle`, the README's consumer drives the rest; and links come in three ways."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from connectors.kafka import Cluster
from schemas.codec import LINK_REGISTERED, ORDER_UPDATE
from tests.reading import read_all, write_all
from tests.sandboxing import Providers
from tests.system import System
from tests.test_readme import README

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

(CONSUMER,) = [b for b in re.findall(r"```python\n(.*?)```", README, re.S) if "SPLIT" in b]


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    system = System(tmp_path_factory.mktemp("system"), LINKSTATUS_SETTLE="false").start()
    yield system
    system.stop()


@pytest.fixture(scope="module")
def at(system: System) -> Providers:
    return Providers(system)


@pytest.fixture(scope="module")
def cluster(system: System) -> Cluster:
    return Cluster(system.environment["LINKSTATUS_BROKERS"], system.prefix)


def test_the_readmes_consumer_has_twenty_lines() -> None:
    assert len(CONSUMER.splitlines()) <= 20


def with_prefix(code: str, prefix: str) -> str:
    """The installation under test has a prefix; that of the README has none."""
    assert '}, ""\n' in code
    return code.replace('}, ""\n', f'}}, "{prefix}"\n')


def test_settle_does_not_run(system: System) -> None:
    assert all(process.cmdline()[-1:] != ["settle"] for process in system.family())


def test_the_readmes_consumer_drives_an_order_to_its_settlement(
    system: System, at: Providers, tmp_path: Path
) -> None:
    at.move("ping", at.create("ping", "L1", order_id="O1"), "COMPLETED")
    order = system.see(
        "/orders/ping/O1", lambda order: order["close"] and order["state"] == "CLOSE_DECIDED"
    )
    assert order["settlements"] == []
    script = tmp_path / "my_shop.py"
    script.write_text(with_prefix(CONSUMER, system.prefix))
    root = Path(__file__).parent.parent
    shop = subprocess.Popen(
        [sys.executable, script], env=system.environment | {"PYTHONPATH": str(root)}
    )
    try:
        order = system.see(
            "/orders/ping/O1",
            lambda order: order["state"] == "SETTLED" and len(order["settlements"]) == 2,
        )
    finally:
        shop.kill()
        shop.wait(10)
    assert {each["kind"] for each in order["settlements"]} == {"REQUESTED", "CONFIRMED"}
    assert set(order["steps"]) == {"CLOSED", "SPLIT", "SETTLED"}
    assert order["lapse"]["paid_to_closed_seconds"] >= 0
    assert at.log("ping", "O1") == []


def test_a_refusal_somebody_reports_shows_with_its_words_until_it_is_overcome(
    system: System, at: Providers, cluster: Cluster
) -> None:
    at.move("ping", at.create("ping", "L2", order_id="O2"), "COMPLETED")
    system.see("/orders/ping/O2", lambda order: bool(order["close"]))
    report(cluster, "O2", "FAILED", "not before the month ends")
    order = system.see("/orders/ping/O2", lambda order: order["state"] == "FAILED")
    assert order["failure"] == "not before the month ends"
    report(cluster, "O2", "CLOSED", None)
    system.see(
        "/orders/ping/O2", lambda order: (order["state"], order["failure"]) == ("CLOSED", None)
    )


def report(cluster: Cluster, order_id: str, step: str, reason: str | None) -> None:
    update = ORDER_UPDATE.encode(
        {
            "provider": "ping",
            "order_id": order_id,
            "step": step,  # type: ignore[typeddict-item]
            "reason": reason,
            "at": 1_700_000_000_000_000,
        }
    )
    write_all(cluster, "order-updates", [(f"ping:{order_id}".encode(), update)])


def test_three_ways_of_registering_lead_to_the_same_row(
    system: System, at: Providers, cluster: Cluster, tmp_path: Path
) -> None:
    said = {"amount": "12.50", "currency": "ZAR", "expires_at": "2030-01-02T03:04:05Z"}
    at.register("peach", "R1", order_id="O7", links_in_order=3, **said)
    file = tmp_path / "links.csv"
    file.write_text(
        "provider,link_id,order_id,links_in_order,amount,currency,expires_at\n"
        "peach,R2,O7,3,12.50,ZAR,2030-01-02T03:04:05Z\n"
    )
    added = system.run("links", "add", str(file))
    assert added.returncode == 0, added.stderr
    records = {m.key(): LINK_REGISTERED.decode(m.value()) for m in read_all(cluster, "links")}
    third = LINK_REGISTERED.encode({**records[b"peach:R1"], "link_id": "R3"})
    write_all(cluster, "links", [(b"peach:R3", third)])
    rows = [system.see(f"/links/peach/R{n}", lambda row: bool(row["order_id"])) for n in (1, 2, 3)]
    own = {"link_id", "first_seen_at", "changed_at", "times", "timeline"}
    # The first may have been asked about at its provider before the last is there.
    own |= {"looked_up_at", "version"}
    contents = [{name: row[name] for name in row.keys() - own} for row in rows]
    assert contents[0] == contents[1] == contents[2]
    assert contents[0]["registration"]["amount_minor"] == 1250
    order = system.see("/orders/peach/O7", lambda order: len(order["links"]) == 3)
    assert (order["links_in_order"], order["close"]) == (3, None)
