"""A scenario: links at all providers with their lifecycles, and the expected result.

The same seed builds the same scenario. `run` changes only the ids, so that a scenario can run again
on the same data.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from random import Random

from connectors.providers.base import SettlementMode
from connectors.providers.registry import DEFAULT_CONNECTIONS, PROVIDERS, Connections
from connectors.providers.simulator import Lifecycle, NewLink, Simulator
from connectors.sandbox.config import simulator_of
from schemas.money import major_units
from schemas.records import ENDED, AnomalyKind, Coverage, SettlementKind, Status

Registration = dict[str, str | int | None]
# Settlement kinds that a closed order must have, and kinds that it may have as well.
SETTLED_AS: dict[SettlementMode, tuple[frozenset[SettlementKind], frozenset[SettlementKind]]] = {
    "by_order": (frozenset({"REQUESTED", "CONFIRMED"}), frozenset()),
    # EXPECTED is emitted if the order closes before the provider reports the settlement.
    "by_payment": (frozenset({"CONFIRMED"}), frozenset({"EXPECTED"})),
    "elsewhere": (frozenset({"EXPECTED"}), frozenset()),
}


@dataclass(frozen=True, slots=True)
class ScenarioLink:
    """One link of a scenario. `provider` is the name of a connection, `kind` its provider.

    `delays` are the delays of the callbacks of the creation and of each step, in seconds.
    `registration` is what the merchant posts to /links, if it registers the link.
    """

    provider: str
    kind: str
    link_id: str
    amount_minor: int
    currency: str
    order_id: str | None
    outcome: str
    steps: tuple[str, ...]
    delays: tuple[tuple[float, ...], ...]
    registration: Registration | None

    @property
    def lifecycle(self) -> Lifecycle:
        return simulator_of(self.kind).LIFECYCLES[self.outcome]

    def new_link(self) -> NewLink:
        return NewLink(self.link_id, self.amount_minor, self.currency, self.order_id)


@dataclass(frozen=True, slots=True)
class ExpectedLink:
    """The expected state of a link. `order_id` is None if it depends on our last lookup."""

    provider: str
    link_id: str
    outcome: str
    status: tuple[Status, ...]
    coverage: Coverage
    order_id: str | None
    anomalies: tuple[AnomalyKind, ...]
    # Minor units: what went back of the payment, and what is disputed.
    refunded_minor: int
    disputed_minor: int
    currency: str


@dataclass(frozen=True, slots=True)
class ExpectedOrder:
    """The expected state of an order. `closed_links` is empty if the order must stay open."""

    provider: str
    order_id: str
    closed_links: tuple[str, ...]
    settlements: tuple[SettlementKind, ...]
    optional_settlements: tuple[SettlementKind, ...]


@dataclass(frozen=True, slots=True)
class Scenario:
    links: tuple[ScenarioLink, ...]
    expected_links: tuple[ExpectedLink, ...]
    expected_orders: tuple[ExpectedOrder, ...]


def build_scenario(
    links: int,
    seed: int,
    run: str = "",
    spread_seconds: float = 4.0,
    connections: Connections = DEFAULT_CONNECTIONS,
) -> Scenario:
    """Return a scenario: the first link of each connection is paid, the others are random."""
    builder = _Builder(seed, run, spread_seconds)
    names = list(connections.items())
    built = tuple(
        builder.link(*names[i % len(names)], first=i < len(names), more=i + len(names) < links)
        for i in range(links)
    )
    return Scenario(built, tuple(map(_expected_link, built)), tuple(_expected_orders(built)))


class _Builder:
    def __init__(self, seed: int, run: str, spread_seconds: float) -> None:
        self._random = Random(seed)  # noqa: S311 - a scenario must be predictable
        self._ids = Random(f"{seed}/{run}")  # noqa: S311
        self._spread = spread_seconds
        # Orders that wait for their second link, by connection.
        self._incomplete_orders: dict[str, str] = {}
        # The first link has the same id at all accounts of a provider: it stays as many links.
        self._first_ids: dict[str, str] = {}

    def link(self, provider: str, kind: str, first: bool, more: bool) -> ScenarioLink:
        """Return the next link of the connection. `more`: another one will follow."""
        simulator = simulator_of(kind)
        link_id = simulator.new_id(self._ids)
        if first:
            link_id = self._first_ids.setdefault(kind, link_id)
        order_id, links_in_order = self._order(provider, kind, more)
        outcome = "paid" if first else self._outcome(simulator, alone=links_in_order < 2)
        lifecycle = simulator.LIFECYCLES[outcome]
        amount_minor = self._random.randrange(100, 500_000)
        delays = tuple(self._delays() for _ in ("created", *lifecycle.steps))
        names_order = order_id is not None and not _has_orders(kind)
        registration: Registration | None = None
        if names_order or not lifecycle.has_callbacks or self._random.random() < 0.5:
            amount = str(major_units(amount_minor, simulator.CURRENCY))
            registration = {"provider": provider, "link_id": link_id, "amount": amount}
            registration |= {"currency": simulator.CURRENCY}
            if names_order:
                registration |= {"order_id": order_id, "links_in_order": links_in_order}
        return ScenarioLink(
            *(provider, kind, link_id, amount_minor, simulator.CURRENCY, order_id, outcome),
            *(lifecycle.steps, delays, registration),
        )

    def _order(self, provider: str, kind: str, more: bool) -> tuple[str | None, int]:
        """Return the order of the next link, and the order's number of links.

        Where the provider has orders, each link has its own. Elsewhere the merchant names some
        orders, and some of those have two links.
        """
        if _has_orders(kind):
            return simulator_of(kind).new_id(self._ids), 1
        incomplete = self._incomplete_orders.pop(provider, None)
        if incomplete is not None:
            return incomplete, 2
        choice, order_id = self._random.random(), f"order-{self._ids.getrandbits(48):012x}"
        if more and choice < 0.3:
            self._incomplete_orders[provider] = order_id
            return order_id, 2
        return (order_id, 1) if choice < 0.5 else (None, 1)

    def _outcome(self, simulator: type[Simulator], alone: bool) -> str:
        """Return an outcome, often "paid". One with anomalies is only for a link alone in its
        order: else the time of the order's close would depend on the order of the callbacks.
        """
        outcomes = [
            name for name, cycle in simulator.LIFECYCLES.items() if alone or not cycle.anomalies
        ]
        return "paid" if self._random.random() < 0.4 else self._random.choice(outcomes)

    def _delays(self) -> tuple[float, ...]:
        """Return the delays of a callback: one or several deliveries, on time or late."""
        copies = self._random.choices((1, 2, 4), (6, 3, 1))[0]
        late = self._random.choices((1.0, 2.0), (9, 1))[0]
        return tuple(self._random.uniform(0, self._spread * late) for _ in range(copies))


def _has_orders(kind: str) -> bool:
    return PROVIDERS[kind].settlement == "by_order"


def _expected_link(link: ScenarioLink) -> ExpectedLink:
    cycle = link.lifecycle
    # Only a lookup names the provider's order, and only an ended link certainly had a lookup.
    unsure = _has_orders(link.kind) and not ENDED.issuperset(cycle.status)
    return ExpectedLink(
        link.provider,
        link.link_id,
        link.outcome,
        cycle.status,
        cycle.coverage,
        None if unsure else link.order_id or link.link_id,
        cycle.anomalies,
        cycle.refunded_minor(link.amount_minor),
        cycle.disputed_minor(link.amount_minor),
        link.currency,
    )


def _expected_orders(links: Iterable[ScenarioLink]) -> Iterator[ExpectedOrder]:
    """Yield the orders. An order closes if one of its links is paid and none is open."""
    orders: dict[tuple[str, str], list[ScenarioLink]] = {}
    for link in links:
        orders.setdefault((link.provider, link.order_id or link.link_id), []).append(link)
    for (provider, order_id), members in orders.items():
        ended = all(ENDED.issuperset(link.lifecycle.status) for link in members)
        paid = sorted(link.link_id for link in members if link.lifecycle.status == ("PAID",))
        required, optional = SETTLED_AS[PROVIDERS[members[0].kind].settlement]
        if paid and ended:
            kinds = tuple(sorted(required)), tuple(sorted(optional))
            yield ExpectedOrder(provider, order_id, tuple(paid), *kinds)
        else:
            yield ExpectedOrder(provider, order_id, (), (), ())
