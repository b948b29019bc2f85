"""Links that linkstatus never heard of are imported: no callback arrives in this module."""

import json
import os
import signal
import subprocess
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from connectors.kafka.cluster import Cluster
from schemas.headers import headers_of
from schemas.topics import ANOMALIES, IMPORTS, ORDER_CLOSE, SETTLEMENT, Topic, callbacks
from tests.e2e.system import System
from tests.support.processes import LINKSTATUS, run
from tests.support.reading import read_all, values
from tests.support.sandboxing import Providers
from tests.support.waiting import until_sync

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

# The first day is over for more than an hour, at any time.
SINCE = ("--since", str(datetime.now(UTC).date() - timedelta(days=2)))
QUICKLY = ("--per-second", "200")
PAID = {
    "ping": ("COMPLETED",),
    "peach": ("opened", "processing", "completed"),
    "truelayer": ("payment_created", "executed", "settled", "creditable", "fulfilled"),
    "ipint": ("PROCESSING", "COMPLETED"),
}


@pytest.fixture(scope="module")
def settings() -> dict[str, str]:
    """The providers call an address where nothing answers."""
    return {"LINKSTATUS_SANDBOX__CALLBACK_URL": "http://127.0.0.1:9/{provider}"}


def import_(system: System, *options: str, code: int = 0) -> dict[str, Any]:
    """Return what the command prints in another terminal."""
    command = (*LINKSTATUS, "import", *options, *QUICKLY, "--json")
    summary: dict[str, Any] = json.loads(
        run(*command, code=code, env=system.environment_of_commands).stdout
    )
    return summary


def imported(cluster: Cluster, provider: str) -> Counter[str]:
    """Return how many answers of imports there are about each link."""
    messages = read_all(cluster, callbacks(provider).name)
    sources = [(m.key() or b"", dict(headers_of(m))["source"]) for m in messages]
    names = (key.decode().partition(":")[2] for key, source in sources if source == b"import")
    return Counter(names)


def file_of(tmp_path: Path, links: list[str]) -> tuple[str, str]:
    file = tmp_path / "links.csv"
    file.write_text("\n".join(["link_id", *links, ""]))
    return "--file", str(file)


def anomalies(cluster: Cluster) -> list[str]:
    return [anomaly["kind"] for anomaly in values(cluster, ANOMALIES)]


@pytest.mark.parametrize("provider", PAID)
def test_links_of_an_outage_are_healed_and_their_orders_close_once(
    provider: str, system: System, providers: Providers, cluster: Cluster, tmp_path: Path
) -> None:
    links = [f"{provider}-paid", f"{provider}-open"]
    for link_id in links:
        own = f"order-{link_id}" if provider == "ping" else None
        providers.create(provider, link_id, order_id=own)
    providers.move(provider, links[0], *PAID[provider])
    assert [system.get(f"/links/{provider}/{link_id}") for link_id in links] == [None, None]
    window = SINCE if provider in ("ping", "peach") else file_of(tmp_path, links)
    summary = import_(system, provider, *window, "--orders", "open")
    # The example of the sandbox may be among the new ones.
    assert (summary["new"] >= 2, summary["known"], summary["skipped"]) == (True, 0, 0)
    row = system.wait_for(f"/links/{provider}/{links[0]}", lambda link: link["status"] == "PAID")
    assert {event["source"] for event in row["timeline"]} == {"import"}
    path = f"/orders/{provider}/{row['order_id']}"
    state = "SETTLED" if provider == "ping" else "CLOSE_DECIDED"
    order = system.wait_for(path, lambda order: order["state"] == state)
    assert order["close"]["total_minor"] == row["amount_minor"]
    assert system.wait_for(f"/links/{provider}/{links[1]}", lambda _: True)["verified"]
    # The paid link is left out; today's links can still change, and are asked again.
    summary = import_(system, provider, *window, "--orders", "open")
    by_list = provider in ("ping", "peach")
    assert (summary["new"], summary["covered"] > 0) == (0, True), "a day, or the file"
    assert (summary["known"] > 0, summary["skipped"] > 0) == (by_list, by_list)
    answers = imported(cluster, provider)
    assert [answers[link_id] for link_id in links] == [1, 1 + by_list]
    closes = [close["order_id"] for close in values(cluster, ORDER_CLOSE)]
    assert closes.count(row["order_id"]) == 1
    assert anomalies(cluster) == []
    if provider == "ping":
        operations = [entry["operation"] for entry in providers.log("ping", row["order_id"])]
        assert operations == ["close", "split", "settle"], "once each"


def test_orders_that_were_closed_before_do_not_close_again(
    system: System, providers: Providers, cluster: Cluster, tmp_path: Path
) -> None:
    links = {"ping": "old-ping", "peach": "old-peach", "truelayer": "old-truelayer"}
    orders = {}
    for provider, link_id in links.items():
        own = "old-order" if provider == "ping" else None
        providers.create(provider, link_id, order_id=own)
        providers.move(provider, link_id, *PAID[provider])
        summary = import_(system, provider, *file_of(tmp_path, [link_id]), "--orders", "closed")
        assert summary["new"] == 1
        row = system.wait_for(f"/links/{provider}/{link_id}", lambda one: one["status"] == "PAID")
        orders[provider] = row["order_id"]
    for provider, order_id in orders.items():
        path = f"/orders/{provider}/{order_id}"
        order = system.wait_for(path, lambda order: order["state"] == "CLOSED")
        assert (order["close"], order["settlements"], order["waiting"]) == (None, [], None)
    # The provider repeats what it knows, and a person asks: still nothing closes.
    providers.call_back("ping", payment_link_id="old-ping", status="COMPLETED")
    system.run("links", "lookup", "truelayer", "old-truelayer")
    system.wait_for(
        "/links/truelayer/old-truelayer", lambda link: link["looked_up_at"] > row["looked_up_at"]
    )
    assert providers.log("ping", "old-order") == []
    topics: tuple[Topic[Any], ...] = (ORDER_CLOSE, SETTLEMENT)
    for topic in topics:
        named = {(one["provider"], one["order_id"]) for one in values(cluster, topic)}
        assert not named & {*orders.items()}
    assert anomalies(cluster) == []


def test_killed_import_goes_on_while_live_callbacks_are_not_delayed(
    system: System, providers: Providers, cluster: Cluster, tmp_path: Path
) -> None:
    links = [f"truelayer-{number:03}" for number in range(90)]
    for link_id in links:
        providers.create("truelayer", link_id)
    options = ("truelayer", *file_of(tmp_path, links), "--orders", "open", *QUICKLY)
    process = subprocess.Popen(
        [*LINKSTATUS, "import", *options],
        env=system.environment_of_commands,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def under_way() -> bool:
        assert process.poll() is None, "it ended before it was killed"
        records = values(cluster, IMPORTS)
        return any(one["after"] in links for one in records)

    try:
        until_sync(under_way, "the import to be under way")
        took = []
        for number in range(5):
            started = time.monotonic()
            providers.call_back("ping", payment_link_id=f"live-{number}", status="CREATED")
            system.wait_for(f"/links/ping/live-{number}", lambda _: True)
            took.append(time.monotonic() - started)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert max(took) < 5.0, took
    first = imported(cluster, "truelayer")
    import_(system, *options[: -len(QUICKLY)])
    after = imported(cluster, "truelayer")
    assert {link_id for link_id in links if not after[link_id]} == set()
    repeated = sum(after[link_id] - 1 for link_id in links)
    assert repeated <= 20, "what was published, and not noted yet"
    assert sum(first[link_id] for link_id in links) >= 20
    total = after.total()
    assert import_(system, *options[: -len(QUICKLY)])["covered"] == 1
    assert imported(cluster, "truelayer").total() == total, "nothing is published again"


def test_what_cannot_be_imported_is_named(
    system: System, providers: Providers, tmp_path: Path
) -> None:
    providers.create("ipint", "good")
    file = tmp_path / "links.jsonl"
    file.write_text('{"invoice_id": "good"}\n{"invoice_id": "unheard-of"}\n{"amount": "1"}\n')
    summary = import_(system, "ipint", "--file", str(file), "--orders", "open", code=1)
    assert summary["not_found"] == ["unheard-of"]
    assert [text.partition(", ")[2] for text in summary["refused"]] == [
        "line 3: has no id of a link"
    ]
    assert system.wait_for("/links/ipint/good", lambda _: True)
    assert system.get("/links/ipint/unheard-of") is None


def test_imports_are_verified_and_rebuilt_like_all_else(system: System) -> None:
    assert "no differences" in run(*LINKSTATUS, "verify", env=system.environment_of_commands).stderr
    assert "the same" in system.run("rebuild", "again.")
