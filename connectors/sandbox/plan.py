"""A play, planned: links and their lives at all providers, and what must be known in the end.

Pure: the same seed gives the same plan, and `run` only other ids, so that a play can be repeated on
the same data.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from random import Random

from connectors.provider import SettlementMode
from connectors.registry import PROVIDERS
from connectors.sandbox.simulator import Life, NewLink, Simulator
from connectors.sandbox.sites import sandbox_of
from schemas.money import major_units
from schemas.records import ENDED, AnomalyKind, Coverage, SettlementKind, Status

Registered = dict[str, str | int | None]
# Kinds of settlement a closed order must get, and may get besides.
SETTLED_AS: dict[SettlementMode, tuple[frozenset[SettlementKind], frozenset[SettlementKind]]] = {
    "by_order": (frozenset({"REQUESTED", "CONFIRMED"}), frozenset()),
    # EXPECTED comes first when the order closes before the provider reports the settlement.
    "by_payment": (frozenset({"CONFIRMED"}), frozenset({"EXPECTED"})),
    "elsewhere": (frozenset({"EXPECTED"}), frozenset()),
}


@dataclass(frozen=True, slots=True)
class PlannedLink:
    """One link. `times` says, for its creation and for each word, when callbacks come, in seconds;
    `registration` is what the merchant posts to /links, if it does."""

    provider: str
    link_id: str
    amount_minor: int
    currency: str
    order_id: str | None
    outcome: str
    words: tuple[str, ...]
    times: tuple[tuple[float, ...], ...]
    registration: Registered | None

    def new_link(self) -> NewLink:
        return NewLink(self.link_id, self.amount_minor, self.currency, self.order_id)


@dataclass(frozen=True, slots=True)
class ExpectedLink:
    """`order_id` is None where it depends on when we last looked."""

    provider: str
    link_id: str
    outcome: str
    status: tuple[Status, ...]
    coverage: Coverage
    order_id: str | None
    anomalies: tuple[AnomalyKind, ...]


@dataclass(frozen=True, slots=True)
class ExpectedOrder:
    """`closed_links` are those in its close; empty when it must not be closed."""

    provider: str
    order_id: str
    closed_links: tuple[str, ...]
    settlements: tuple[SettlementKind, ...]
    optional_settlements: tuple[SettlementKind, ...]


@dataclass(frozen=True, slots=True)
class Scenario:
    links: tuple[PlannedLink, ...]
    expected_links: tuple[ExpectedLink, ...]
    expected_orders: tuple[ExpectedOrder, ...]


def plan(links: int, seed: int, run: str = "", spread_seconds: float = 4.0) -> Scenario:
    """So many links, the first of each provider paid, the others with lives at random."""
    planner = _Planner(seed, run, spread_seconds)
    names = list(PROVIDERS)
    planned = tuple(
        planner.link(names[i % len(names)], first=i < len(names), more=i + len(names) < links)
        for i in range(links)
    )
    return Scenario(planned, tuple(map(_expected, planned)), tuple(_expected_orders(planned)))


class _Planner:
    def __init__(self, seed: int, run: str, spread_seconds: float) -> None:
        self._chance = Random(seed)  # noqa: S311 - a plan is meant to be predictable
        self._ids = Random(f"{seed}/{run}")  # noqa: S311
        self._spread = spread_seconds
        # Orders that wait for their second link, by provider.
        self._halves: dict[str, str] = {}

    def link(self, provider: str, first: bool, more: bool) -> PlannedLink:
        """The next link of the provider; `more` says that another one will follow."""
        sandbox = sandbox_of(provider)
        link_id = sandbox.new_id(self._ids)
        order_id, links_in_order = self._order(provider, more)
        outcome = "paid" if first else self._outcome(sandbox, alone=links_in_order < 2)
        life = sandbox.LIVES[outcome]
        link = PlannedLink(
            provider=provider,
            link_id=link_id,
            amount_minor=self._chance.randrange(100, 500_000),
            currency=sandbox.CURRENCY,
            order_id=order_id,
            outcome=outcome,
            words=life.words,
            times=tuple(self._times() for _ in ("created", *life.words)),
            registration=None,
        )
        merchants_order = order_id is not None and not _has_orders(provider)
        if merchants_order or not life.heard or self._chance.random() < 0.5:
            named = {"order_id": order_id, "links_in_order": links_in_order}
            return replace(link, registration=_registration(link, named if merchants_order else {}))
        return link

    def _order(self, provider: str, more: bool) -> tuple[str | None, int]:
        """The order and its number of links. Where the provider has orders, each link gets its own;
        elsewhere some are named by the merchant, and some of those have two links."""
        if _has_orders(provider):
            return sandbox_of(provider).new_id(self._ids), 1
        half = self._halves.pop(provider, None)
        if half is not None:
            return half, 2
        kind, order_id = self._chance.random(), f"order-{self._ids.getrandbits(48):012x}"
        if more and kind < 0.3:
            self._halves[provider] = order_id
            return order_id, 2
        return (order_id, 1) if kind < 0.5 else (None, 1)

    def _outcome(self, sandbox: type[Simulator], alone: bool) -> str:
        """Often paid. A life with surprises is for a link alone in its order: else when the order
        closes would depend on which callback came first."""
        names = [name for name, life in sandbox.LIVES.items() if alone or not life.anomalies]
        return "paid" if self._chance.random() < 0.4 else self._chance.choice(names)

    def _times(self) -> tuple[float, ...]:
        """When a callback comes: once, or repeated; in time, or late."""
        copies = self._chance.choices((1, 2, 4), (6, 3, 1))[0]
        late = self._chance.choices((1.0, 2.0), (9, 1))[0]
        return tuple(self._chance.uniform(0, self._spread * late) for _ in range(copies))


def _has_orders(provider: str) -> bool:
    return PROVIDERS[provider].settlement == "by_order"


def _registration(link: PlannedLink, named: Mapping[str, str | int | None]) -> Registered:
    amount = str(major_units(link.amount_minor, link.currency))
    about = {"provider": link.provider, "link_id": link.link_id}
    return about | {"amount": amount, "currency": link.currency} | dict(named)


def _life(link: PlannedLink) -> Life:
    return sandbox_of(link.provider).LIVES[link.outcome]


def _expected(link: PlannedLink) -> ExpectedLink:
    life = _life(link)
    # The provider names the order when asked, and it is surely asked when the link has ended.
    unsure = _has_orders(link.provider) and not ENDED.issuperset(life.status)
    return ExpectedLink(
        link.provider,
        link.link_id,
        link.outcome,
        life.status,
        life.coverage,
        None if unsure else link.order_id or link.link_id,
        life.anomalies,
    )


def _expected_orders(links: Iterable[PlannedLink]) -> Iterator[ExpectedOrder]:
    """An order closes when one link is paid and none is open."""
    orders: dict[tuple[str, str], list[PlannedLink]] = {}
    for link in links:
        orders.setdefault((link.provider, link.order_id or link.link_id), []).append(link)
    for (provider, order_id), members in orders.items():
        paid = tuple(sorted(m.link_id for m in members if _life(m).status == ("PAID",)))
        if not all(ENDED.issuperset(_life(member).status) for member in members):
            paid = ()
        must, may = (
            SETTLED_AS[PROVIDERS[provider].settlement] if paid else (frozenset(), frozenset())
        )
        yield ExpectedOrder(provider, order_id, paid, tuple(sorted(must)), tuple(sorted(may)))
