"""Single links that live while the faults happen; the provider itself delivers their callbacks."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from connectors.providers.registry import PROVIDERS
from connectors.providers.simulator import Lifecycle
from connectors.sandbox.config import simulator_of
from connectors.sandbox.control import LinkForm
from connectors.sandbox.scenario import SETTLED_AS
from tests.chaos.sandbox import Doc

_LINKS_PER_SECOND = 0.8
# Of a link that the control API of the sandbox creates.
AMOUNT_MINOR = LinkForm.model_fields["amount_minor"].default
# The longest time from a link's creation to its end.
_LONGEST_SECONDS = 25.0


@dataclass(frozen=True, slots=True)
class LiveLink:
    """`times` are seconds from the start: of the creation, and of each step."""

    provider: str
    link_id: str
    order_id: str
    outcome: str
    times: tuple[float, ...]

    @property
    def lifecycle(self) -> Lifecycle:
        return simulator_of(self.provider).LIFECYCLES[self.outcome]

    @property
    def creation(self) -> Doc:
        order = {"order_id": self.order_id} if self.provider == "ping" else {}
        return {"provider": self.provider, "link_id": self.link_id} | order

    @property
    def expected(self) -> Doc:
        """The link, as the sandbox's plan would describe it."""
        return {
            "provider": self.provider,
            "link_id": self.link_id,
            "outcome": f"live: {self.outcome}",
            "status": list(self.lifecycle.status),
            "coverage": self.lifecycle.coverage,
            "order_id": None,
            "anomalies": list(self.lifecycle.anomalies),
            "refunded_minor": self.lifecycle.refunded_minor(AMOUNT_MINOR),
            "disputed_minor": self.lifecycle.disputed_minor(AMOUNT_MINOR),
        }

    @property
    def order(self) -> Doc:
        """The order, as the sandbox's plan would describe it."""
        paid = self.lifecycle.status == ("PAID",)
        must, may = SETTLED_AS[PROVIDERS[self.provider].settlement] if paid else ((), ())
        return {
            "provider": self.provider,
            "order_id": self.order_id,
            "closed_links": [self.link_id] if paid else [],
            "settlements": sorted(must),
            "optional_settlements": sorted(may),
        }


def live_links(seed: int, seconds: float) -> Iterator[LiveLink]:
    """Yield the links of a seed. All begin and end within `seconds`."""
    chance = Random(f"lives {seed}")
    for _ in range(int(seconds * _LINKS_PER_SECOND)):
        provider = chance.choice(sorted(PROVIDERS))
        sandbox = simulator_of(provider)
        outcome = chance.choice(
            [
                name
                for name, life in sandbox.LIFECYCLES.items()
                # No callback reports a refund at Ping.
                if life.has_callbacks and not (provider == "ping" and life.refunded_halves)
            ]
        )
        begin = chance.uniform(0, seconds * 0.8)
        end = min(seconds, begin + _LONGEST_SECONDS)
        times = sorted(chance.uniform(begin, end) for _ in sandbox.LIFECYCLES[outcome].steps)
        link_id = sandbox.new_id(chance)
        order_id = f"order-of-{link_id}" if provider == "ping" else link_id
        yield LiveLink(provider, link_id, order_id, outcome, (begin, *times))
