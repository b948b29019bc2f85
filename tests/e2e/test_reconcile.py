"""The whole way of a payout: fetched from each provider, matched, published, and shown by day."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from connectors.kafka.cluster import Cluster
from schemas.topics import PAYOUTS, PAYOUTS_RAW, RECONCILIATIONS, SETTLEMENT, Topic
from tests.e2e.system import System
from tests.support.processes import LINKSTATUS, run
from tests.support.reading import read_all, values
from tests.support.sandboxing import Providers

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

STEPS = {
    "ping": ("COMPLETED",),
    "peach": ("opened", "processing", "completed"),
    "truelayer": ("payment_created", "executed", "settled", "creditable", "fulfilled"),
    "ipint": ("PROCESSING", "COMPLETED"),
}
LINKS = ("one", "two", "three")
RESULTS: tuple[Topic[Any], ...] = (PAYOUTS_RAW, PAYOUTS, RECONCILIATIONS)


def today() -> tuple[str, ...]:
    day = datetime.now(UTC).date()
    return "--from", str(day), "--to", str(day + timedelta(days=1))


def reconcile(system: System, provider: str, *options: str, code: int | None = 0) -> Any:
    """Return the JSON that the command prints in another terminal."""
    command = (*LINKSTATUS, "reconcile", "--provider", provider, *today(), "--json", *options)
    return json.loads(run(*command, code=code, env=system.environment_of_commands).stdout)


def close_orders(system: System, providers: Providers, provider: str) -> list[tuple[str, str]]:
    """Let three orders with one link each be paid and closed. Return them with their links."""
    links = [f"{provider}-{name}" for name in LINKS]
    for link_id in links:
        # Only Ping has orders of its own.
        own = f"order-{link_id}" if provider == "ping" else None
        providers.create(provider, link_id, order_id=own)
        providers.move(provider, link_id, *STEPS[provider])
    orders = []
    for link_id in links:
        # The order of a link may change until a lookup names it.
        row = system.wait_for(f"/links/{provider}/{link_id}", lambda link: is_closed(system, link))
        orders.append((row["order_id"], link_id))
    return orders


def is_closed(system: System, link: Any) -> bool:
    """Return whether the order of the link is closed; at Ping, settled: only that is paid out."""
    order = system.get(f"/orders/{link['provider']}/{link['order_id']}")
    if order is None or order["close"] is None:
        return False
    if any(one["amount_minor"] is None for one in order["links"]):
        return False
    return bool(link["provider"] != "ping" or order["state"] == "SETTLED")


def contents(cluster: Cluster) -> dict[str, set[tuple[bytes, bytes]]]:
    """Return keys and values of all results, without repeats."""
    return {
        topic.name: {(m.key() or b"", m.value() or b"") for m in read_all(cluster, topic.name)}
        for topic in RESULTS
    }


@pytest.mark.parametrize("provider", STEPS)
def test_payout_with_mistakes_is_found_out_and_the_same_again(
    provider: str, system: System, providers: Providers, cluster: Cluster, tmp_path: Path
) -> None:
    orders = close_orders(system, providers, provider)
    expected = providers.pay_out(provider, *orders)
    assert sorted(expected.values()) == ["AMOUNT_DIFFERS", "MATCHED", "MISSING"]
    options: tuple[str, ...] = ()
    if provider == "ipint":
        file = tmp_path / "payouts.csv"
        file.write_bytes(providers.payout_file(provider))
        options = ("--file", str(file))
    first = reconcile(system, provider, *options, code=1)
    rows = {row["order_id"]: row for row in first["rows"] if row["order_id"]}
    assert {order: row["outcome"] for order, row in rows.items()} == expected
    assert [row["outcome"] for row in first["rows"] if not row["order_id"]] == ["UNKNOWN_TO_US"]
    (matched,) = (row for row in rows.values() if row["outcome"] == "MATCHED")
    assert matched["gross_minor"] == matched["closed_minor"] == 10_000
    # TrueLayer states no fees.
    assert matched["fee_minor"] == (0 if provider == "truelayer" else 200)
    (wrong,) = (row for row in rows.values() if row["outcome"] == "AMOUNT_DIFFERS")
    assert wrong["gross_minor"] == 10_100
    assert "1.00" in wrong["detail"]
    before = contents(cluster)
    assert reconcile(system, provider, *options, code=1) == first
    assert contents(cluster) == before, "byte for byte"
    if provider != "ping":
        path = f"/orders/{provider}/{matched['order_id']}"
        system.wait_for(path, lambda order: order["state"] == "SETTLED")
        kinds = [
            settlement["kind"]
            for settlement in values(cluster, SETTLEMENT)
            if settlement["order_id"] == matched["order_id"]
        ]
        assert kinds.count("CONFIRMED") == 1, "exactly once"
    missing = next(order for order, outcome in expected.items() if outcome == "MISSING")
    if provider in ("peach", "ipint"):
        order = system.get(f"/orders/{provider}/{missing}")
        assert [s["kind"] for s in order["settlements"]] == ["EXPECTED"]
