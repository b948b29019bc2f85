"""The providers' real sandboxes answer like the simulated ones: `pytest -m contract`.

The tests read the pipeline's settings (LINKSTATUS_PING__API_SECRET and so on) from the environment,
and LINKSTATUS_CONTRACT_PING_LINK as a link of that account. Without them they are skipped. The
simulated providers show that the tests themselves are right.
"""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from uuid import uuid4

import pytest

from connectors.http.client import RequestCoalescer, fetch, http_client
from connectors.lookup.executor import look_up
from connectors.providers import raw
from connectors.providers.base import Answer, ApiRequest, Facts, Provider, Unreadable
from connectors.providers.registry import PROVIDERS
from connectors.sandbox.config import sandbox_environment, simulator_of
from streams.settings import load
from tests.connectors.providers.exchanges import request
from tests.connectors.sandbox.sandboxes import hosted

contract = pytest.mark.contract
every_provider = pytest.mark.parametrize("name", PROVIDERS)
TESTS = 2 * len(PROVIDERS) + 1


def with_credentials(name: str) -> Provider:
    provider = load().existing_providers()[name]
    if not provider.can_look_up():
        pytest.skip(f"no credentials: set LINKSTATUS_{name.upper()}__…")
    return provider


async def answer_of(provider: Provider, link_id: str) -> Answer:
    lookup = request(provider.name, link_id)
    async with http_client() as client:
        return await look_up(provider, client, lookup, RequestCoalescer())


def facts_of(provider: Provider, link_id: str, answer: Answer) -> Facts:
    headers = {"lookup-link": link_id, "lookup-status": str(answer.status)}
    now = time.time_ns() // 10**6
    return provider.read(raw.read(provider.name, answer.body, headers, "x", now))


@contract
@every_provider
async def test_unknown_link_is_not_found(name: str) -> None:
    provider, link_id = with_credentials(name), str(uuid4())
    answer = await answer_of(provider, link_id)
    assert 400 <= answer.status < 500
    if answer.status == 404:
        (event,) = facts_of(provider, link_id, answer).events
        assert event["provider_status"] == "not found"
    else:
        # Some providers reject an id that does not have their format.
        with pytest.raises(Unreadable, match=str(answer.status)):
            facts_of(provider, link_id, answer)


@contract
@every_provider
async def test_link_of_the_account_is_readable(name: str) -> None:
    provider = with_credentials(name)
    setting = f"LINKSTATUS_CONTRACT_{name.upper()}_LINK"
    link_id = os.environ.get(setting)
    if link_id is None:
        pytest.skip(f"no link to look up: set {setting}")
    answer = await answer_of(provider, link_id)
    assert answer.status == 200
    facts = facts_of(provider, link_id, answer)
    assert {event["link_id"] for event in facts.events} == {link_id}


@contract
async def test_truelayers_keys_are_available() -> None:
    with_credentials("truelayer")
    jku: str = load().provider_config("truelayer").jku  # type: ignore[attr-defined]
    async with http_client() as client:
        response = await fetch(client, ApiRequest("GET", jku, {}))
    assert (response.status, b'"keys"' in response.body) == (200, True)


def run_contract_tests(settings: dict[str, str]) -> str:
    environment = {n: v for n, v in os.environ.items() if not n.startswith("LINKSTATUS_")}
    command = [sys.executable, "-m", "pytest", "-m", "contract", "-rs", "-p", "no:cacheprovider"]
    result = subprocess.run(
        [*command, __file__],
        env=environment | settings,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stdout
    return result.stdout


@pytest.mark.slow
async def test_simulated_providers_pass_the_contract_tests(tmp_path: Path) -> None:
    async with hosted(tmp_path, "http://127.0.0.1:9") as host:
        settings = sandbox_environment(host.config, PROVIDERS)
        for name in PROVIDERS:
            setting = f"LINKSTATUS_CONTRACT_{name.upper()}_LINK"
            settings[setting] = simulator_of(name).EXAMPLE_LINK
        output = await asyncio.to_thread(run_contract_tests, settings)
    assert f"{TESTS} passed" in output


@pytest.mark.slow
def test_without_credentials_contract_tests_are_skipped_and_name_the_settings() -> None:
    output = run_contract_tests({})
    assert f"{TESTS} skipped" in output
    assert all(f"set LINKSTATUS_{name.upper()}__…" in output for name in PROVIDERS)
