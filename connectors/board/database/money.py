"""Where the money is, by currency and day, and how many links were paid. Blocking.

Amounts of different currencies are never added.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from sqlalchemy import func, select

from connectors.board.database import tables as t
from connectors.board.database.figures import FATES, NO_CURRENCY, UNKNOWN_CURRENCY, Fate, Measure
from connectors.board.database.projection import storable
from connectors.board.database.store import Store

# What the page shows of a day, in this order.
SHOWN: tuple[Measure, ...] = (
    *("open", "closed", "awaited", "settled"),
    *("refunded", "disputed", "paid_out", "different"),
)


class Sum(NamedTuple):
    """So many, and their amount in minor units; `unknown` of them have no known amount."""

    number: int = 0
    amount_minor: int = 0
    unknown: int = 0

    def plus(self, other: "Sum") -> "Sum":
        return Sum(*(one + more for one, more in zip(self, other, strict=True)))


Sums = dict[Measure, Sum]


@dataclass(slots=True)
class CurrencyMoney:
    """The sums of one currency, as a total and by day; `currency` is None where none is known."""

    currency: str | None
    total: Sums = field(default_factory=lambda: dict.fromkeys(SHOWN, Sum()))
    days: dict[str, Sums] = field(default_factory=dict)


@dataclass(slots=True)
class Success:
    """What became of the links of a provider that came within the days."""

    provider: str
    links: dict[Fate, int] = field(default_factory=lambda: dict.fromkeys(FATES, 0))

    @property
    def registered(self) -> int:
        return sum(self.links.values())

    @property
    def rate(self) -> float | None:
        """Return the share of the paid ones among those that have ended."""
        ended = self.registered - self.links["open"]
        return self.links["paid"] / ended if ended else None


@dataclass(frozen=True, slots=True)
class Money:
    """Sums by currency, the latest day first, and success by provider."""

    currencies: list[CurrencyMoney]
    providers: list[Success]


def days(store: Store, first: str, end: str, provider: str = "", currency: str = "") -> Money:
    """Return the money of the days from `first` on, before `end`, such as 2026-11-30. Only those of
    a provider, or of a currency, if one is given.
    """
    c = t.money.c
    conditions = [c.day >= storable(first), c.day < storable(end)]
    if provider:
        conditions.append(c.provider == storable(provider))
    if currency:
        conditions.append(c.currency == stored_currency(currency))
    sums = (func.sum(c[name]) for name in Sum._fields)
    of_day = select(c.day, c.currency, c.measure, *sums).where(*conditions)
    of_provider = select(c.provider, c.measure, func.sum(c.number)).where(*conditions)
    with store.reading() as connection:
        by_day = connection.execute(
            of_day.where(c.measure.in_(SHOWN))
            .group_by(c.day, c.currency, c.measure)
            .order_by(c.day.desc())
        ).all()
        links = connection.execute(
            of_provider.where(c.measure.in_(FATES))
            .group_by(c.provider, c.measure)
            .order_by(c.provider)
        ).all()
    return Money(_currencies(tuple(row) for row in by_day), _providers(tuple(row) for row in links))


def stored_currency(name: str) -> str:
    """Return the currency as figures have it; `name` as a request has it."""
    stored: str = NO_CURRENCY if name == UNKNOWN_CURRENCY else storable(name)
    return stored


def _currencies(rows: Iterable[tuple[str, str, Measure, int, int, int]]) -> list[CurrencyMoney]:
    found: dict[str, CurrencyMoney] = {}
    for day, currency, measure, *sums in rows:
        # PostgreSQL adds integers to decimals.
        sum_ = Sum(*map(int, sums))
        money = found.setdefault(currency, CurrencyMoney(currency or None))
        money.total[measure] = money.total[measure].plus(sum_)
        of_day = money.days.setdefault(day, dict.fromkeys(SHOWN, Sum()))
        of_day[measure] = sum_
    # What has no currency comes last.
    return [
        found[currency] for currency in sorted(found, key=lambda one: (one == NO_CURRENCY, one))
    ]


def _providers(rows: Iterable[tuple[str, Fate, int]]) -> list[Success]:
    found: dict[str, Success] = {}
    for provider, fate, number in rows:
        found.setdefault(provider, Success(provider)).links[fate] = int(number)
    return list(found.values())
