"""The simulated providers on their store, and the operations on them."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from connectors.clock import micros_now
from connectors.providers.base import ApiRequest, ApiResponse
from connectors.providers.simulator import SECOND, NewLink
from connectors.sandbox.config import SandboxConfig
from connectors.sandbox.delivery import DeliveryLoop
from connectors.sandbox.payouts import ExpectedPayout, PaidOrder, pay_out_orders
from connectors.sandbox.scenario import Scenario, ScenarioLink
from connectors.sandbox.store import Store

# The deliveries of a held scenario are postponed by this time.
_HELD = 10 * 365 * 86_400 * SECOND


@dataclass(slots=True)
class Fault:
    """A fault of a provider's API: its delay, and the end of its outage (monotonic clock)."""

    delay_seconds: float = 0.0
    down_until: float = 0.0

    def is_down(self) -> bool:
        return time.monotonic() < self.down_until


class Simulation:
    """All simulated accounts. Each call is one transaction: a response implies its effect."""

    def __init__(self, config: SandboxConfig, store: Store) -> None:
        self.store = store
        # Whether the callbacks go to another receiver than our edge.
        self.external = config.callback_url is not None
        self.connections = config.connections
        self.simulators = {
            name: config.simulator(name)(config.site(name), store.of(name))
            for name in config.connections
        }
        self.deliveries = DeliveryLoop(store, self.simulators)
        self.faults = {name: Fault() for name in config.connections}
        with store.transaction():
            for simulator in self.simulators.values():
                simulator.set_example("", micros_now())

    @contextmanager
    def _change(self) -> Iterator[None]:
        """Commit the block, then look for new deliveries."""
        with self.store.transaction():
            yield
        self.deliveries.wake()

    def respond(self, provider: str, request: ApiRequest) -> ApiResponse:
        with self._change():
            return self.simulators[provider].respond(request, micros_now())

    def set_example(self, provider: str, name: str) -> None:
        """Give the example link the status in the example with this name."""
        with self._change():
            self.simulators[provider].set_example(name.partition("-")[0], micros_now())

    def create(self, provider: str, link: NewLink) -> None:
        with self._change():
            self.simulators[provider].create(link, micros_now())

    def advance(self, provider: str, link_id: str, steps: list[str]) -> None:
        """Move a link by all steps or none. Raises KeyError if there is no such link or step."""
        with self._change():
            for step in steps:
                self.simulators[provider].advance(link_id, step, micros_now())

    def pay_out(self, orders: Sequence[PaidOrder]) -> list[ExpectedPayout]:
        """Pay out all orders or none, each provider with its mistakes. Raises KeyError."""
        with self._change():
            return pay_out_orders(self.simulators, orders, micros_now())

    def start(self, scenario: Scenario, run: str, hold: bool) -> None:
        """Perform all steps of the scenario now. Its callbacks follow at their scheduled times;
        with `hold`, they wait for `release`.
        """
        start = micros_now() + (_HELD if hold else 0)
        with self._change():
            for link in scenario.links:
                self._start(link, start, run)

    def _start(self, link: ScenarioLink, start: int, run: str) -> None:
        simulator = self.simulators[link.provider]
        for step, delays in zip((None, *link.steps), link.delays, strict=True):
            with self.store.capture() as callbacks:
                if step is None:
                    simulator.create(link.new_link(), micros_now())
                else:
                    simulator.advance(link.link_id, step, micros_now())
            for callback in callbacks:
                for delay in delays:
                    due = start + int(delay * SECOND)
                    self.store.enqueue(link.provider, callback, due, run)

    def release(self, run: str) -> int:
        """Deliver the callbacks of a held scenario. Return their number."""
        with self._change():
            return self.store.release(run, _HELD)
