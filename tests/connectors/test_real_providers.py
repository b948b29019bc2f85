"""The providers' own sandboxes answer as our simulated ones do: `pytest -m contract`.

They take the pipeline's settings (LINKSTATUS_PING__API_SECRET and so on) from the environment, and
LINKSTATUS_CONTRACT_PING_LINK as a link of that account; without them they are skipped. That the
tests themselves are right is shown against the simulated providers.
"""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from uuid import uuid4

import pytest

from connectors.lookup.answers import ask
from connectors.outward import Shared, fetch, http_client
from connectors.provider import Answer, ApiRequest, Facts, Provider, Raw, Unreadable
from connectors.registry import PROVIDERS
from connectors.sandbox.sites import sandbox_environment, sandbox_of
from streams.settings import load
from tests.connectors.test_lookups import question
from tests.connectors.test_sandbox_host import hosted

contract = pytest.mark.contract
every_provider = pytest.mark.parametrize("name", PROVIDERS)


def with_credentials(name: str) -> Provider:
    provider = load().providers()[name]
    if not provider.can_look_up():
        pytest.skip(f"no credentials: set LINKSTATUS_{name.upper()}__…")
    return provider


async def looked_up(provider: Provider, link_id: str) -> Answer:
    async with http_client() as client:
        return await ask(provider, client, question(provider.name, link_id), Shared())


def read(provider: Provider, link_id: str, answer: Answer) -> Facts:
    status = {"lookup-status": str(answer.status)}
    now = time.time_ns() // 1000
    raw = Raw(provider.name, answer.body, status, "lookup", True, now, "x", link_id)
    return provider.read(raw)


@contract
@every_provider
async def test_a_link_that_never_was_is_not_known(name: str) -> None:
    provider = with_credentials(name)
    link_id = str(uuid4())
    answer = await looked_up(provider, link_id)
    assert 400 <= answer.status < 500
    if answer.status == 404:
        (event,) = read(provider, link_id, answer).events
        assert event["provider_status"] == "not found"
    else:
        # Some refuse an id that does not look like one of theirs.
        with pytest.raises(Unreadable, match=str(answer.status)):
            read(provider, link_id, answer)


@contract
@every_provider
async def test_a_link_of_the_account_is_read(name: str) -> None:
    provider = with_credentials(name)
    setting = f"LINKSTATUS_CONTRACT_{name.upper()}_LINK"
    link_id = os.environ.get(setting)
    if link_id is None:
        pytest.skip(f"no link to ask about: set {setting}")
    answer = await looked_up(provider, link_id)
    assert answer.status == 200
    facts = read(provider, link_id, answer)
    assert {event["link_id"] for event in facts.events} == {link_id}


@contract
async def test_truelayers_keys_can_be_had() -> None:
    with_credentials("truelayer")
    jku: str = load().provider_config("truelayer").jku  # type: ignore[attr-defined]
    async with http_client() as client:
        answer = await fetch(client, ApiRequest("GET", jku, {}))
    assert (answer.status, b'"keys"' in answer.body) == (200, True)


def run(environment: dict[str, str]) -> str:
    said = {n: v for n, v in os.environ.items() if not n.startswith("LINKSTATUS_")} | environment
    command = [sys.executable, "-m", "pytest", "-m", "contract", "-rs", "-p", "no:cacheprovider"]
    ran = subprocess.run(
        [*command, __file__], env=said, capture_output=True, text=True, timeout=120, check=False
    )
    assert ran.returncode == 0, ran.stdout
    return ran.stdout


@pytest.mark.slow
async def test_the_simulated_providers_pass_the_same(tmp_path: Path) -> None:
    async with hosted(tmp_path, "http://127.0.0.1:9") as host:
        environment = sandbox_environment(host.config, PROVIDERS)
        for name in PROVIDERS:
            link: str = sys.modules[sandbox_of(name).__module__].SEED_LINK
            environment[f"LINKSTATUS_CONTRACT_{name.upper()}_LINK"] = link
        said = await asyncio.to_thread(run, environment)
    assert f"{2 * len(PROVIDERS) + 1} passed" in said


@pytest.mark.slow
def test_without_credentials_they_are_skipped_and_say_what_to_set() -> None:
    said = run({})
    assert f"{2 * len(PROVIDERS) + 1} skipped" in said
    assert all(f"set LINKSTATUS_{name.upper()}__…" in said for name in PROVIDERS)
