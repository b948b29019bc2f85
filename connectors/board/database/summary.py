"""Counts for the first page: what came within the last hour, and what needs a person. Blocking."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from sqlalchemy import Column, ColumnElement, func, select

from connectors.board.database import (
    anomalies,
    cases,
    dead_letters,
    links,
    notices,
    waiting,
    waiting_orders,
)
from connectors.board.database import tables as t
from connectors.board.database.cases import Case
from connectors.board.database.paging import count
from connectors.board.database.store import Store
from connectors.board.database.waiting_orders import Overdue
from schemas.records import Notice
from schemas.times import DAY

MINUTES = 60
_MINUTE = 60_000_000
_MOST_REASONS = 4


class Group(NamedTuple):
    """Rows of one kind: how many, and when the last of them came (microseconds, UTC)."""

    name: str
    number: int
    last_at: int


@dataclass(frozen=True, slots=True)
class RecentEvents:
    """The events of one provider within the last hour, by minute, the latest minute last."""

    by_minute: list[int] = field(default_factory=lambda: [0] * MINUTES)
    last_at: int | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """Callbacks of a provider that the edge answered with something else than 200, for one reason,
    within a week. `detail` says what was wrong with the last one.
    """

    provider: str
    answer: int
    reason: str
    number: int
    number_within_day: int
    last_at: int
    detail: str


@dataclass(frozen=True, slots=True)
class Summary:
    """Counts of the store at one moment. `links` counts by provider and status, `events` is by
    provider. Anomalies and dead letters are the open ones, dead letters by their commonest reasons.
    `unreadable` counts the last day: older records cannot be corrected any more. `differing` are
    the days with differences that were reconciled within the last week, by provider. `refused` is
    what the edge did not take within the last week, the latest first. `cases` are the latest of
    each kind of anomaly, of ORDER_FAILED and of DEAD_LETTERS, the earliest of `ORDERS_WAIT provider
    party`, and some of the latest day of `PAYOUTS_DIFFER provider`. `overdue` are the orders that
    have waited too long for someone. `verified` is the last result of `linkstatus verify`.
    """

    links: dict[str, dict[str, int]]
    events: dict[str, RecentEvents]
    anomalies: list[Group]
    dead_letters: list[Group]
    dead_letters_open: int
    orders_failed: int
    unreadable: Group | None
    differing: list[Group]
    refused: list[Refused]
    cases: dict[str, list[Case]] = field(default_factory=dict)
    overdue: list[Overdue] = field(default_factory=list)
    verified: Notice | None = None


def summarize(
    store: Store, now: int, patience: Mapping[waiting.Party, float] = waiting.PATIENCE
) -> Summary:
    """Count it all; `now` in microseconds. `patience` is how many seconds an order may wait."""
    open_anomalies, letters = _anomalies(store), _dead_letters(store)
    overdue, differing = waiting_orders.overdue(store, now, patience), _differing(store, now)
    return Summary(
        links=links.counts(store),
        events=_events(store, now),
        anomalies=open_anomalies,
        dead_letters=letters,
        dead_letters_open=count(store, t.dead_letters, [dead_letters.is_open()]),
        orders_failed=count(store, t.orders, [t.orders.c.state == "FAILED"]),
        unreadable=_unreadable(store, now - DAY),
        differing=differing,
        refused=_refused(store, now),
        cases={
            **cases.of_anomalies(store, [group.name for group in open_anomalies]),
            "ORDER_FAILED": cases.of_failed_orders(store),
            "DEAD_LETTERS": cases.of_dead_letters(store, letters),
            **cases.of_overdue_orders(store, overdue),
            **cases.of_payouts(store, [group.name for group in differing]),
        },
        overdue=overdue,
        verified=notices.last_verification(store),
    )


def _events(store: Store, now: int) -> dict[str, RecentEvents]:
    c = t.link_events.c
    first = now // _MINUTE - MINUTES + 1
    minute = c.received_at // _MINUTE
    query = (
        select(c.provider, minute, func.count(), func.max(c.received_at))
        .where(c.received_at >= first * _MINUTE, c.received_at < (first + MINUTES) * _MINUTE)
        .group_by(c.provider, minute)
        .order_by(minute)
    )
    events: dict[str, RecentEvents] = {}
    with store.reading() as connection:
        for provider, at, number, last_at in connection.execute(query):
            by_minute = events.get(provider, RecentEvents()).by_minute
            by_minute[int(at) - first] = number
            events[provider] = RecentEvents(by_minute, last_at)
    return events


def _anomalies(store: Store) -> list[Group]:
    """Return the open ones by kind, the latest first."""
    c = t.anomalies.c
    return _groups(store, c.kind, c.at, ~anomalies.is_resolved(), func.max(c.at))


def _dead_letters(store: Store) -> list[Group]:
    """Return the open ones by reason, the commonest first."""
    c = t.dead_letters.c
    return _groups(store, c.reason, c.at, dead_letters.is_open(), func.count(), _MOST_REASONS)


def _differing(store: Store, now: int) -> list[Group]:
    """Return the days with differences that were reconciled within a week, by provider."""
    c = t.reconciliations.c
    condition = (c.at >= now - 7 * DAY) & (c.differences > 0)
    return _groups(store, c.provider, c.at, condition, func.max(c.at))


def _refused(store: Store, now: int) -> list[Refused]:
    c = t.refused_callbacks.c
    query = select(c.record).where(c.hour > now - 7 * DAY - 60 * _MINUTE).order_by(c.last_at)
    found: dict[tuple[str, int, str], Refused] = {}
    with store.reading() as connection:
        for record in map(json.loads, connection.scalars(query)):
            key = record["provider"], record["answer"], record["reason"]
            before = found.get(key)
            number, within_day = (before.number, before.number_within_day) if before else (0, 0)
            within_day += record["number"] if record["last_at"] > now - DAY else 0
            last = record["last_at"], record["detail"]
            found[key] = Refused(*key, number + record["number"], within_day, *last)
    return sorted(found.values(), key=lambda one: -one.last_at)


def _groups(
    store: Store,
    name: Column[str],
    at: Column[int],
    condition: ColumnElement[bool],
    order: ColumnElement[int],
    limit: int | None = None,
) -> list[Group]:
    query = select(name, func.count(), func.max(at)).where(condition).group_by(name)
    with store.reading() as connection:
        return [
            Group(*row) for row in connection.execute(query.order_by(order.desc()).limit(limit))
        ]


def _unreadable(store: Store, since: int) -> Group | None:
    """Return those since then, named by the last of them."""
    c = t.unreadable.c
    number = count(store, t.unreadable, [c.at >= since])
    query = select(c.topic, c.partition, c.offset, c.reason, c.at).order_by(c.at.desc()).limit(1)
    with store.reading() as connection:
        row = connection.execute(query).first()
    if not (number and row):
        return None
    return Group(f"{row.topic}/{row.partition}/{row.offset}: {row.reason}", number, row.at)
