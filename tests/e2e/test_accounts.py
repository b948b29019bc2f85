"""Two accounts at Ping and two at Peach in one installation: none touches another."""

import json
from typing import Any

import httpx
import pytest

from connectors.kafka.cluster import Cluster
from tests.e2e.system import System
from tests.support.processes import LINKSTATUS, run
from tests.support.reading import read_all
from tests.support.sandboxing import Providers, metric
from tests.support.waiting import PATIENCE

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

SE, NO = "ping_se", "ping_no"


@pytest.fixture(scope="module")
def settings() -> dict[str, str]:
    return {
        "LINKSTATUS_CONNECTIONS": json.dumps({SE: "ping", NO: "ping", "peach_ke": "peach"}),
        "LINKSTATUS_PROVIDERS": f"{SE},{NO},peach,peach_ke",
        "LINKSTATUS_PING_SE__PATH_TOKEN": "t0ken",
    }


def is_settled(order: Any) -> bool:
    return bool(order["state"] == "SETTLED" and order["close"])


def test_same_link_and_order_ids_in_two_accounts_stay_two(
    system: System, providers: Providers, cluster: Cluster
) -> None:
    for name, amount in ((SE, 1100), (NO, 2200)):
        providers.create(name, "L1", order_id="O1", amount_minor=amount)
    providers.move(SE, "L1", "COMPLETED")
    order = system.wait_for(f"/orders/{SE}/O1", is_settled)
    assert order["close"]["total_minor"] == 1100
    other = system.wait_for(f"/links/{NO}/L1", lambda row: row["status"] == "CREATED")
    assert other["payment_ids"] == []
    assert providers.log(NO, "O1") == []
    providers.move(NO, "L1", "COMPLETED")
    order = system.wait_for(f"/orders/{NO}/O1", is_settled)
    assert order["close"]["total_minor"] == 2200
    paid = [system.get(f"/links/{name}/L1") for name in (SE, NO)]
    assert [row["amount_minor"] for row in paid] == [1100, 2200]
    assert paid[0]["payment_ids"] != paid[1]["payment_ids"]
    for name in (SE, NO):
        operations = [entry["operation"] for entry in providers.log(name, "O1")]
        assert operations == ["close", "split", "settle"]
        assert {m.key() for m in read_all(cluster, f"callbacks.{name}")} >= {f"{name}:L1".encode()}
    closes = {message.key() for message in read_all(cluster, "order-close")}
    assert {f"{SE}:O1".encode(), f"{NO}:O1".encode()} <= closes


def test_callback_at_the_url_of_another_account_changes_only_that_account(
    system: System, providers: Providers
) -> None:
    providers.create(SE, "L2", order_id="O2")
    system.wait_for(f"/links/{SE}/L2", lambda row: row["status"] == "CREATED")
    providers.call_back(NO, payment_link_id="L2", status="COMPLETED")
    denied = system.wait_for(f"/links/{NO}/L2", lambda row: "CLAIM_DENIED" in row["anomalies"])
    assert denied["status"] != "PAID"
    row = system.get(f"/links/{SE}/L2")
    assert (row["status"], row["claimed_status"], row["anomalies"]) == ("CREATED", None, [])
    assert system.get(f"/orders/{NO}/O2") is None


def test_token_and_signature_of_one_account_are_refused_at_another(system: System) -> None:
    def status(*arguments: str) -> str:
        command = (*LINKSTATUS, "send", *arguments, "--example", "completed")
        return run(*command, env=system.environment_of_commands, code=None).stdout.split()[3]

    assert status(SE) == "200"
    url = f"{system.url}/callbacks"
    assert status(NO, "--to", f"{url}/{SE}") == "401"
    assert status("peach_ke") == "200"
    assert status("peach", "--to", f"{url}/peach_ke") == "401"
    assert status("peach_ke", "--to", f"{url}/peach") == "401"
    # The connection exists only by the names that are set.
    assert httpx.post(f"{url}/ping", content=b"{}", timeout=PATIENCE).status_code == 404


def test_outage_of_one_account_delays_no_other(system: System, providers: Providers) -> None:
    providers.outage(SE, 60)
    providers.move(SE, providers.create(SE, "L3", order_id="O3"), "COMPLETED")
    providers.move(NO, providers.create(NO, "L3", order_id="O3"), "COMPLETED")
    system.wait_for(f"/orders/{NO}/O3", is_settled)
    assert system.get(f"/links/{SE}/L3")["status"] != "PAID"
    assert metric(system, "lookup", "linkstatus_provider_down", provider=SE) == 1
    assert metric(system, "lookup", "linkstatus_provider_down", provider=NO) == 0
    providers.outage(SE, 0)
    system.wait_for(f"/orders/{SE}/O3", is_settled)


def test_replayed_dead_letter_returns_to_its_account(system: System, cluster: Cluster) -> None:
    url = f"{system.url}/callbacks/{NO}"
    body = {"payment_link_id": "L4", "status": "EXPLODED"}
    assert httpx.post(url, json=body, timeout=PATIENCE).status_code == 200
    system.wait_for("/dead-letters", lambda page: len(page["dead_letters"]) == 1)
    system.run("dead-letters", "replay", "--all", "--yes")
    system.wait_for("/dead-letters", lambda page: len(page["dead_letters"]) == 2)
    sent = [m for m in read_all(cluster, f"callbacks.{NO}") if m.key() == f"{NO}:L4".encode()]
    assert len(sent) == 2
    assert not [
        m for m in read_all(cluster, f"callbacks.{SE}") if b"EXPLODED" in (m.value() or b"")
    ]


def test_rebuild_of_all_accounts_gives_the_same(system: System) -> None:
    assert "the same" in system.run("rebuild", f"{system.prefix}again.")


def test_play_includes_every_account(system: System) -> None:
    play = json.loads(system.run("sandbox", "play", "--links", "16", "--seed", "5", "--json"))
    assert play["agrees"]
    assert {row["provider"] for row in play["payouts"]} == {SE, NO, "peach", "peach_ke"}
    links = play["expected"]["links"]
    assert {link["provider"] for link in links} == {SE, NO, "peach", "peach_ke"}
    assert len(links) == 16
    assert len({link["link_id"] for link in links}) == 14


def test_commands_and_page_name_the_accounts(system: System) -> None:
    assert system.get("/")["providers"][SE]["provider"] == "ping"
    page = httpx.get(system.url, headers={"accept": "text/html"}, timeout=PATIENCE).text
    assert f'{SE}</a> <span class="none">ping</span>' in page
    assert f"{SE} at ping, {NO} at ping, peach_ke at peach" in system.run(
        "sandbox", "exec", *LINKSTATUS, "doctor"
    )
    assert SE in system.run("status", SE, "L1")
    assert {"callbacks.ping_se", "lookup-ping_se"} <= set(
        system.run("topics", "acls").replace(system.prefix, "").replace("'", " ").split()
    )
    system.run("topics", "check")
    unknown = run(
        *(*LINKSTATUS, "status", "ping", "L1"), env=system.environment_of_commands, code=None
    )
    assert unknown.returncode == 2
    message = " ".join(unknown.stderr.replace("│", "").split())
    assert f"ping is not one of peach, {SE}, {NO}, peach_ke" in message
