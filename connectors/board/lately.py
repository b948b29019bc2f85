"""What came lately, and what of it a person should see: counted for the first page. Blocking."""

from dataclasses import dataclass, field
from typing import NamedTuple

from sqlalchemy import ColumnElement, and_, exists, func, select

from connectors.board import queries
from connectors.board import tables as t
from connectors.board.store import Store

MINUTES = 60
_MINUTE = 60_000_000
_DAY = 86_400_000_000
_REASONS = 4


class Group(NamedTuple):
    """Things of one kind: how many, and when the last of them came (microseconds, UTC)."""

    word: str
    number: int
    last_at: int


@dataclass(frozen=True, slots=True)
class Coming:
    """What a provider told within the last hour, by minute, the latest last."""

    by_minute: list[int] = field(default_factory=lambda: [0] * MINUTES)
    last_at: int | None = None


@dataclass(frozen=True, slots=True)
class Lately:
    """One look at the store."""

    at: int
    links: dict[str, dict[str, int]]
    totals: dict[str, int]
    coming: dict[str, Coming]
    anomalies: list[Group]
    letters: list[Group]
    letters_open: int
    orders_failed: int
    unreadable: Group | None


def unreplayed() -> ColumnElement[bool]:
    """Holds of a dead letter that nobody has replayed."""
    letter, again = t.dead_letters.c, t.replays.c
    here = and_(again.partition == letter.partition, again.offset == letter.offset)
    # What is older was said of another, in the topic before it was made anew.
    return ~exists().where(here, again.at >= letter.at)


def set_aside() -> ColumnElement[bool]:
    """Holds of a dead letter that somebody has set aside, and nobody has replayed since."""
    letter, word, again = t.dead_letters.c, t.aside.c, t.replays.c
    since = exists().where(
        again.partition == word.partition, again.offset == word.offset, again.at > word.version
    )
    here = and_(word.partition == letter.partition, word.offset == letter.offset)
    return exists().where(here, word.done, word.version >= letter.at, ~since)


def waiting() -> ColumnElement[bool]:
    """Holds of a dead letter that nobody has replayed or set aside."""
    return and_(unreplayed(), ~set_aside())


def unhandled() -> ColumnElement[bool]:
    """Holds of an anomaly that nobody has marked as done."""
    anomaly, word = t.anomalies.c, t.handled.c
    return ~exists().where(and_(word.anomaly_id == anomaly.event_id, word.done))


def look(store: Store, now: int) -> Lately:
    """Counts it all; `now` in microseconds."""
    letters, letters_open = _letters(store)
    return Lately(
        at=now,
        links=queries.counts(store),
        totals=queries.totals(store),
        coming=_coming(store, now),
        anomalies=_anomalies(store),
        letters=letters,
        letters_open=letters_open,
        orders_failed=_orders_failed(store),
        unreadable=_unreadable(store, now - _DAY),
    )


def _coming(store: Store, now: int) -> dict[str, Coming]:
    events = t.link_events.c
    first = now // _MINUTE - MINUTES + 1
    minute = events.received_at // _MINUTE
    counted = (
        select(events.provider, minute, func.count(), func.max(events.received_at))
        .where(
            events.received_at >= first * _MINUTE, events.received_at < (first + MINUTES) * _MINUTE
        )
        .group_by(events.provider, minute)
        .order_by(minute)
    )
    found: dict[str, Coming] = {}
    with store.reading() as connection:
        for provider, at, number, last in connection.execute(counted):
            series = found.get(provider, Coming()).by_minute
            series[int(at) - first] = number
            found[provider] = Coming(series, last)
    return found


def _anomalies(store: Store) -> list[Group]:
    c = t.anomalies.c
    grouped = (
        select(c.kind, func.count(), func.max(c.at))
        .where(unhandled())
        .group_by(c.kind)
        .order_by(func.max(c.at).desc())
    )
    with store.reading() as connection:
        return [Group(*row) for row in connection.execute(grouped)]


def _letters(store: Store) -> tuple[list[Group], int]:
    c = t.dead_letters.c
    grouped = (
        select(c.reason, func.count(), func.max(c.at))
        .where(waiting())
        .group_by(c.reason)
        .order_by(func.count().desc())
        .limit(_REASONS)
    )
    number = select(func.count()).select_from(t.dead_letters).where(waiting())
    with store.reading() as connection:
        groups = [Group(*row) for row in connection.execute(grouped)]
        return groups, connection.scalar(number) or 0


def _orders_failed(store: Store) -> int:
    number = select(func.count()).select_from(t.orders).where(t.orders.c.state == "FAILED")
    with store.reading() as connection:
        return connection.scalar(number) or 0


def _unreadable(store: Store, since: int) -> Group | None:
    """Those of the last day, by the last of them: nobody can mend what is older."""
    c = t.unreadable.c
    number = select(func.count()).select_from(t.unreadable).where(c.at >= since)
    last = select(c.topic, c.partition, c.offset, c.reason, c.at).order_by(c.at.desc()).limit(1)
    with store.reading() as connection:
        count, row = connection.scalar(number) or 0, connection.execute(last).first()
    if not (count and row):
        return None
    return Group(f"{row.topic}/{row.partition}/{row.offset}: {row.reason}", count, row.at)
