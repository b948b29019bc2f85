"""Fetching payouts from a provider's API: within its limits, and over its failures."""

import time
from pathlib import Path
from typing import Any

import pytest

from connectors.clock import micros_now
from connectors.http.caller import ATTEMPTS, ProviderAway
from connectors.payouts.fetch import fetch_days
from connectors.providers.lists import ListRefused
from connectors.providers.payout_api import PayoutApi
from connectors.providers.registry import PROVIDERS
from connectors.sandbox.config import sandbox_environment
from schemas.times import DAY
from tests.connectors.sandbox.sandboxes import Host, hosted

SOON = (0.01, 0.02)


def api_of(host: Host, name: str, **changes: Any) -> PayoutApi:
    """Return the provider with its settings for the sandbox."""
    prefix = f"LINKSTATUS_{name.upper()}__"
    environment = sandbox_environment(host.config, [name]).items()
    texts = {n.removeprefix(prefix).lower(): text for n, text in environment}
    texts.pop("webhook_secrets", None)
    kind = PROVIDERS[name]
    provider = kind(kind.Config.model_validate(texts | changes))
    assert isinstance(provider, PayoutApi)
    return provider


def today() -> int:
    now = micros_now()
    return now - now % DAY


@pytest.mark.parametrize("name", ["ping", "peach", "truelayer"])
async def test_each_day_has_its_payload(name: str, tmp_path: Path) -> None:
    order = {"provider": name, "order_id": "O1", "links": ["L1"]}
    steps = {
        "ping": ["COMPLETED"],
        "peach": ["completed"],
        "truelayer": ["payment_created", "executed", "settled"],
    }
    advanced: list[int] = []
    async with hosted(tmp_path, "http://127.0.0.1:9") as host:
        await host.control("links", {"provider": name, "link_id": "L1"})
        await host.control(f"links/{name}/L1", {"steps": steps[name]})
        assert await host.control("payouts", {"orders": [order]}) == {
            "orders": [{"provider": name, "order_id": "O1", "outcome": "MATCHED"}]
        }
        provider = api_of(host, name)
        days = [today() - DAY, today()]
        first, second = await fetch_days(name, provider, days, 50.0, 5.0, advanced.append)
        again = await fetch_days(name, provider, days, 50.0, 5.0)
    assert (first.start, first.end, second.end) == (days[0], days[1], days[1] + DAY)
    assert provider.read_payouts(first.body).lines == ()
    assert provider.read_payouts(second.body).lines != ()
    assert advanced == [1, 1]
    assert [one.id for one in again] == [first.id, second.id], "the same content, the same id"


async def test_calls_keep_the_providers_rate(tmp_path: Path) -> None:
    """The simulated Peach answers 429 to a second call within a second."""
    async with hosted(tmp_path, "http://127.0.0.1:9") as host:
        started = time.monotonic()
        days = [today() - n * DAY for n in range(3)]
        await fetch_days("peach", api_of(host, "peach"), days, 1000.0, 5.0, pauses=(9.0, 9.0))
        took = time.monotonic() - started
    # A token and three days: a refusal would cost nine seconds more.
    assert 3.0 <= took < 9.0


async def test_failure_that_passes_is_retried_after_the_time_the_provider_asks(
    tmp_path: Path,
) -> None:
    async with hosted(tmp_path, "http://127.0.0.1:9") as host:
        await host.control("down", {"provider": "ping", "seconds": 0.5})
        (payload,) = await fetch_days("ping", api_of(host, "ping"), [today()], 50.0, 5.0)
    assert b'"disbursements":[]' in payload.body


async def test_provider_that_stays_away_is_named_with_its_last_failure(tmp_path: Path) -> None:
    async with hosted(tmp_path, "http://127.0.0.1:9") as host:
        closed = api_of(host, "ping", payments_url="http://127.0.0.1:9")
        with pytest.raises(ProviderAway, match=r"ping does not list its payouts: .*connect"):
            await fetch_days("ping", closed, [today()], 50.0, 5.0, pauses=SOON)
        wrong = api_of(host, "ping", api_secret="another")
        with pytest.raises(ProviderAway, match="GET disbursements answered 403"):
            await fetch_days("ping", wrong, [today()], 50.0, 5.0, pauses=SOON)
    assert ATTEMPTS > 1


async def test_refusal_is_not_retried(tmp_path: Path) -> None:
    async with hosted(tmp_path, "http://127.0.0.1:9") as host:
        early = [1_600_000_000_000_000 - 1_600_000_000_000_000 % DAY]
        with pytest.raises(ListRefused, match="answered 400 The range is longer"):
            await fetch_days("peach", api_of(host, "peach"), early, 50.0, 5.0, pauses=(60.0, 60.0))
