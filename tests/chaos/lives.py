"""Single links whose lives go on while everything happens, told by the provider itself. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from connectors.registry import PROVIDERS
from connectors.sandbox.plan import SETTLED_AS
from connectors.sandbox.sites import sandbox_of
from tests.chaos.sandboxing import Doc

_A_SECOND = 0.8
# From a link's creation to its end at most.
_LONGEST_SECONDS = 25.0


@dataclass(frozen=True, slots=True)
class Life:
    """`times` are those of the creation and of each word, in seconds from the start."""

    provider: str
    link_id: str
    order_id: str
    outcome: str
    times: tuple[float, ...]

    @property
    def words(self) -> tuple[str, ...]:
        return sandbox_of(self.provider).LIVES[self.outcome].words

    @property
    def creation(self) -> Doc:
        named = {"order_id": self.order_id} if self.provider == "ping" else {}
        return {"provider": self.provider, "link_id": self.link_id} | named

    @property
    def expected(self) -> Doc:
        """As the sandbox's plan would have it."""
        life = sandbox_of(self.provider).LIVES[self.outcome]
        return {
            "provider": self.provider,
            "link_id": self.link_id,
            "outcome": f"live: {self.outcome}",
            "status": list(life.status),
            "coverage": life.coverage,
            "order_id": None,
            "anomalies": list(life.anomalies),
        }

    @property
    def order(self) -> Doc:
        """As the sandbox's plan would have it."""
        paid = sandbox_of(self.provider).LIVES[self.outcome].status == ("PAID",)
        must, may = SETTLED_AS[PROVIDERS[self.provider].settlement] if paid else ((), ())
        return {
            "provider": self.provider,
            "order_id": self.order_id,
            "closed_links": [self.link_id] if paid else [],
            "settlements": sorted(must),
            "optional_settlements": sorted(may),
        }


def lives(seed: int, seconds: float) -> Iterator[Life]:
    """The lives of a seed, begun and ended within so many seconds."""
    chance = Random(f"lives {seed}")
    for _ in range(int(seconds * _A_SECOND)):
        provider = chance.choice(sorted(PROVIDERS))
        sandbox = sandbox_of(provider)
        heard = [name for name, life in sandbox.LIVES.items() if life.heard]
        outcome = chance.choice(heard)
        begin = chance.uniform(0, seconds * 0.8)
        end = min(seconds, begin + _LONGEST_SECONDS)
        times = sorted(chance.uniform(begin, end) for _ in sandbox.LIVES[outcome].words)
        link_id = sandbox.new_id(chance)
        order_id = f"order-of-{link_id}" if provider == "ping" else link_id
        yield Life(provider, link_id, order_id, outcome, (begin, *times))
