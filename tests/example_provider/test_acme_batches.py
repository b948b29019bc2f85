"""Bodies with many events, on a whole system with Acme (test_example_provider registers it)."""

import hmac
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from connectors.kafka.cluster import Cluster
from connectors.providers.registry import PROVIDERS
from schemas.topics import LINK_EVENTS, LOOKUPS
from tests.e2e.system import System
from tests.support.reading import values
from tests.support.waiting import PATIENCE

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.slow,
    pytest.mark.skipif("acme" not in PROVIDERS, reason="Acme is not registered"),
]


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory, brokers: str) -> Iterator[System]:
    folder = tmp_path_factory.mktemp("system")
    settings = {"LINKSTATUS_PROVIDERS": "acme", "LINKSTATUS_BROKERS": brokers}
    system = System(folder, **settings).start()
    yield system
    system.stop()


def call_back(system: System, document: Any) -> None:
    body = json.dumps(document).encode()
    (secret,) = json.loads(system.environment["LINKSTATUS_ACME__WEBHOOK_SECRETS"])
    headers = {"x-acme-signature": hmac.digest(secret.encode(), body, "sha256").hex()}
    url = f"{system.url}/callbacks/acme"
    answer = httpx.post(url, content=body, headers=headers, timeout=PATIENCE)
    assert answer.status_code == 200, answer.text


def events(cluster: Cluster) -> Counter[str]:
    return Counter(event["link_id"] for event in values(cluster, LINK_EVENTS))


def test_replay_of_a_refused_event_doubles_no_neighbour(system: System) -> None:
    paid = {"state": "paid", "sum": "1.00", "money": "EUR"}
    good = [{"link": link, **paid} for link in ("a1", "a3")]
    call_back(system, {"events": [good[0], {"link": "a2", "state": []}, good[1]]})
    for link in ("a1", "a3"):
        system.wait_for(f"/orders/acme/{link}", lambda order: bool(order["close"]))
    (letter,) = system.wait_for("/dead-letters", lambda p: p["dead_letters"])["dead_letters"]
    assert letter["headers"]["item"] == "events.1"
    assert letter["reason"] == "state: must be text"
    before = events(system.cluster)
    system.run("dead-letters", "replay", "--all", "--yes")
    letters = system.wait_for("/dead-letters", lambda page: len(page["dead_letters"]) == 2)
    assert {each["headers"]["item"] for each in letters["dead_letters"]} == {"events.1"}
    assert events(system.cluster) == before == {"a1": 1, "a3": 1}


def test_proven_announcement_of_a_batch_is_looked_up_at_once(system: System) -> None:
    call_back(system, {"batch": "b-7"})
    # The simulated API has one link.
    row = system.wait_for("/links/acme/acme-1", lambda row: bool(row["status"] == "PAID"))
    assert {event["source"] for event in row["timeline"]} == {"lookup"}
    (lookup,) = [one for one in values(system.cluster, LOOKUPS) if one["link_id"] == "batches/b-7"]
    assert (lookup["issued"], lookup["reason"]) == (True, "DETAILS")
