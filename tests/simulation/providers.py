"""The providers of a run, on simulated accounts, and the plan of what happens at them."""

from collections.abc import Collection, Iterable
from dataclasses import asdict
from random import Random
from types import SimpleNamespace
from typing import Any

from connectors.providers.base import ApiRequest, ApiResponse, Provider
from connectors.providers.registry import PROVIDERS
from connectors.providers.simulator import Callback
from connectors.sandbox.scenario import Scenario, ScenarioLink, build_scenario
from streams import worker
from streams.domain.polling import SECOND, Intervals
from streams.domain.rules import ProviderRules
from tests.chaos.sandbox import Doc
from tests.chaos.traffic import Sending, claims, sendings
from tests.connectors.sandbox.sandboxes import BASE_URL, NOW, Simulated

# Seconds: polls come within a run.
INTERVALS = Intervals(first=5 * SECOND, longest=20 * SECOND, details=15 * SECOND)

# Their lookups tell everything.
_POLLED, _SILENT = ("ping", "ipint"), 0.5


class Providers:
    """An account at each provider."""

    def __init__(self) -> None:
        self.simulated = {name: Simulated(name) for name in PROVIDERS}
        self.by_name = self.new()
        settings: Any = SimpleNamespace(provider_config=lambda name: self.by_name[name].config)
        self.rules: dict[str, ProviderRules] = worker.rules(settings, self.by_name)

    def new(self) -> dict[str, Provider]:
        """Return the providers as a process that starts has them."""
        return {
            name: kind(kind.Config(**self.simulated[name].settings()))
            for name, kind in PROVIDERS.items()
        }

    def name_of(self, url: str) -> str:
        """Return the provider whose API has the URL."""
        return url.removeprefix(f"{BASE_URL}/").partition("/")[0].removesuffix("-auth")

    def respond(self, request: ApiRequest, now: int) -> ApiResponse:
        """Return the provider's answer at `now` (microseconds)."""
        return self.simulated[self.name_of(request.url)].respond(request, now)

    def operations(self) -> list[Doc]:
        """Return the operations on orders that Ping has seen, in order."""
        return self.simulated["ping"].sandbox.state.all("log")


class Plan:
    """What happens at the providers, all of it before the first callback; what is sent, and what
    must follow. `sendings` are genuine callbacks, repeated and shuffled, and bad ones.
    """

    def __init__(self, providers: Providers, seed: int, links: int, spread: float) -> None:
        scenario = build_scenario(links, seed, f"simulated {seed}")
        self.registrations: list[Doc] = [
            dict(link.registration) for link in scenario.links if link.registration
        ]
        self.links: list[Doc] = [asdict(link) for link in scenario.expected_links]
        self.orders: list[Doc] = [asdict(order) for order in scenario.expected_orders]
        silent = self._silent(scenario, Random(f"silent {seed}"))
        played = _played(providers, scenario, silent)
        genuine = [*played, *claims(self._claim(Random(seed)))]
        names = [(link.provider, link.link_id) for link in scenario.links]
        self.sendings: list[Sending] = sendings(str(seed), genuine, names, spread)

    def _silent(self, scenario: Scenario, random: Random) -> frozenset[str]:
        """Return links whose callbacks never come: only polling finds their ends."""
        return frozenset(
            link.link_id
            for link in scenario.links
            if link.registration and link.provider in _POLLED and random.random() < _SILENT
        )

    def _claim(self, random: Random) -> Iterable[tuple[str, str]]:
        """Return links to claim a payment for that the provider denies."""
        open_links = (link for link in self.links if link["outcome"] == "left open")
        claimed = [link for link in open_links if link["provider"] in ("ping", "ipint")][:2]
        for link in claimed:
            link["anomalies"] = [*link["anomalies"], "CLAIM_DENIED"]
        return [(link["provider"], link["link_id"]) for link in claimed]


def _played(
    providers: Providers, scenario: Scenario, silent: Collection[str]
) -> list[tuple[str, Callback]]:
    """Perform all steps, and return the callbacks that come."""
    result: list[tuple[str, Callback]] = []
    for link in scenario.links:
        simulated = providers.simulated[link.provider]
        _play(simulated, link)
        callbacks = simulated.callbacks()
        if link.link_id not in silent:
            result += [(link.provider, callback) for callback in callbacks]
    return result


def _play(simulated: Simulated, link: ScenarioLink) -> None:
    simulated.sandbox.create(link.new_link(), NOW)
    for step in link.steps:
        simulated.sandbox.advance(link.link_id, step, NOW)
