"""The sandbox as a whole: the simulators on their store, and what may be done to them."""

import time
from dataclasses import dataclass

from connectors.clock import micros_now
from connectors.provider import ApiRequest, ApiResponse
from connectors.registry import PROVIDERS
from connectors.sandbox.deliver import Courier
from connectors.sandbox.plan import Scenario
from connectors.sandbox.simulator import SECOND, Doc, NewLink
from connectors.sandbox.sites import SandboxConfig, sandbox_of
from connectors.sandbox.store import Store

# Deliveries of a play that is held are put off by this long.
_HELD = 10 * 365 * 86_400 * SECOND


@dataclass(slots=True)
class Trouble:
    """What ails a provider's API: how slow it is, and until when it is down (monotonic clock)."""

    delay_seconds: float = 0.0
    down_until: float = 0.0

    def is_down(self) -> bool:
        return time.monotonic() < self.down_until


class World:
    """All simulated providers. Each call is one transaction: what is answered has happened."""

    def __init__(self, config: SandboxConfig, store: Store) -> None:
        self.store = store
        # Whether the callbacks go to somebody else's receiver.
        self.elsewhere = config.callback_url is not None
        self.simulators = {
            name: sandbox_of(name)(config.site(name), store.of(name)) for name in PROVIDERS
        }
        self.courier = Courier(store, self.simulators)
        self.troubles = {name: Trouble() for name in PROVIDERS}
        with store.transaction():
            for simulator in self.simulators.values():
                simulator.seed("", micros_now())

    def answer(self, provider: str, request: ApiRequest) -> ApiResponse:
        """What the provider's API answers."""
        with self.store.transaction():
            response = self.simulators[provider].answer(request, micros_now())
        self.courier.look_again()
        return response

    def reseed(self, provider: str, word: str) -> None:
        """Makes the link of the seed's examples agree with an example of that name."""
        with self.store.transaction():
            self.simulators[provider].seed(word.partition("-")[0], micros_now())

    def create(self, provider: str, link: NewLink) -> None:
        with self.store.transaction():
            self.simulators[provider].create(link, micros_now())
        self.courier.look_again()

    def move(self, provider: str, link_id: str, words: list[str]) -> None:
        """Raises KeyError when there is no such link or word; then nothing has happened."""
        with self.store.transaction():
            for word in words:
                self.simulators[provider].move(link_id, word, micros_now())
        self.courier.look_again()

    def stage(self, scenario: Scenario, run: str, hold: bool) -> None:
        """Lives all the lives of the scenario at once; their callbacks come at the times it says.

        The callbacks are held until `release` if asked."""
        start = micros_now() + (_HELD if hold else 0)
        with self.store.transaction():
            for link in scenario.links:
                simulator = self.simulators[link.provider]
                for word, seconds in zip((None, *link.words), link.times, strict=True):
                    with self.store.captured() as callbacks:
                        if word is None:
                            simulator.create(link.new_link(), micros_now())
                        else:
                            simulator.move(link.link_id, word, micros_now())
                    for callback in callbacks:
                        for after in seconds:
                            due = start + int(after * SECOND)
                            self.store.owe(link.provider, callback, due, run)
        self.courier.look_again()

    def release(self, run: str) -> int:
        """Lets the callbacks of a held play go; returns how many."""
        released = self.store.release(run, _HELD)
        self.courier.look_again()
        return released

    def log(self, provider: str, order_id: str | None = None) -> list[Doc]:
        """The operations on the provider's orders, in order, whatever came of them."""
        entries = self.store.of(provider).all("log")
        return [entry for entry in entries if order_id in (None, entry["order_id"])]
