"""Lists narrowed by what a person remembers: part of an id, a kind, a time. Blocking."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, SelectBase, Table, and_, func, or_, select, union

from connectors.board import queries
from connectors.board import tables as t
from connectors.board.lately import set_aside, unhandled, waiting
from connectors.board.queries import Cursor, Page
from connectors.board.rows import storable
from connectors.board.store import Store
from connectors.letters.letter import BadPlace, Letter, Place, Wanted, place
from connectors.noting import Mark
from schemas.records import Replay

_LAST = "\U0010ffff"
_SHOWN = {"open": waiting, "aside": set_aside}


class Counted(NamedTuple):
    """A page of a list; `number` is how many there are in all."""

    page: Page
    number: int


def links(
    store: Store,
    where: Mapping[str, str],
    limit: int,
    after: Cursor | None,
    *,
    search: str = "",
    providers: Sequence[str] = (),
) -> Page:
    """Links by provider, status and order; and among those of `providers` by how their id, their
    order's id or one of their payments' ids begins.
    """
    conditions = _equal(t.link_status, where)
    among = _found(providers, storable(search)) if search else None
    return queries.records(store, t.link_status, conditions, limit, after, among)


def orders(
    store: Store,
    where: Mapping[str, str],
    limit: int,
    after: Cursor | None,
    *,
    search: str = "",
    providers: Sequence[str] = (),
) -> Page:
    """Orders by provider and state; and among those of `providers` by how their id begins."""
    among = _orders_found(providers, storable(search)) if search else None
    return queries.records(store, t.orders, _equal(t.orders, where), limit, after, among)


def _equal(table: Table, where: Mapping[str, str]) -> list[ColumnElement[bool]]:
    return [table.c[name] == storable(value) for name, value in where.items()]


def anomalies(
    store: Store, where: Mapping[str, Any], *, fresh: bool, limit: int, after: Cursor | None
) -> Counted:
    """Anomalies by provider, kind, link and id, up to a time, each with what somebody said of it
    last; `fresh` leaves out what is done.
    """
    conditions = _noticed(where, fresh)
    page = queries.records(store, t.anomalies, conditions, limit, after)
    marks = queries.marks(store, (one["event_id"] for one in page.rows))
    rows = [(one, marks.get(one["event_id"])) for one in page.rows]
    return Counted(Page(rows, page.next), _number(store, t.anomalies, conditions))


def anomalies_by_kind(store: Store, where: Mapping[str, Any]) -> list[tuple[str, str, int]]:
    """Provider, kind and number of those that are wanted and not done, the most first."""
    c = t.anomalies.c
    query = (
        select(c.provider, c.kind, func.count())
        .where(*_noticed(where, fresh=True))
        .group_by(c.provider, c.kind)
        .order_by(func.count().desc())
    )
    with store.reading() as connection:
        return [tuple(row) for row in connection.execute(query)]


def _noticed(where: Mapping[str, Any], fresh: bool) -> list[ColumnElement[bool]]:
    given = dict(where)
    until = given.pop("until", None)
    return [
        *_equal(t.anomalies, given),
        *([] if until is None else [t.anomalies.c.at < until]),
        *([unhandled()] if fresh else []),
    ]


def notices(store: Store, where: Mapping[str, str], limit: int, after: Cursor | None) -> Page:
    """Notices by provider and kind."""
    return queries.records(store, t.notices, _equal(t.notices, where), limit, after)


def letters(
    store: Store, wanted: Wanted, *, show: str, limit: int, after: Cursor | None
) -> Counted:
    """Dead letters that are wanted, each with its `replays` and who has set it `aside`. `show` is
    one of asking.LETTERS_SHOWN.
    """
    conditions = _wanted(wanted, show)
    page = queries.dead_letters(store, limit, after, conditions)
    places = [Place(row["partition"], row["offset"]) for row in page.rows]
    again, marks = _replays(store, places), queries.letter_marks(store, places)
    rows = [
        {**row, **_dealt(row["at"], again.get(place, []), marks.get(place))}
        for place, row in zip(places, page.rows, strict=True)
    ]
    return Counted(Page(rows, page.next), _number(store, t.dead_letters, conditions))


def _dealt(at: int, replays: Sequence[Replay], mark: Mark | None) -> dict[str, Any]:
    """What was done about a letter of that time. The rest was about another, which stood there
    before the topic was made anew.
    """
    since = [one for one in replays if one["at"] >= at]
    return {"replays": since, "aside": _aside(mark if mark and mark.at >= at else None, since)}


def briefly(store: Store, wanted: Wanted, *, show: str, limit: int) -> Counted:
    """The same as `Letter`s without what they carry, which is too much for many."""
    c, conditions = t.dead_letters.c, _wanted(wanted, show)
    query = (
        select(c.partition, c.offset, c.at, c.key, c.reason, c.origin)
        .where(*conditions)
        .order_by(c.at.desc(), c.partition.desc(), c.offset.desc())
        .limit(limit)
    )
    with store.reading() as connection:
        rows = [_letter(row) for row in connection.execute(query)]
    return Counted(Page(rows, None), _number(store, t.dead_letters, conditions))


def number_of_letters(store: Store, wanted: Wanted, *, show: str) -> int:
    """How many are wanted."""
    return _number(store, t.dead_letters, _wanted(wanted, show))


def _letter(row: Any) -> Letter:
    headers = (("reason", row.reason.encode()), ("origin", row.origin.encode()))
    return Letter(Place(row.partition, row.offset), row.at, row.key, headers, None)


def _number(store: Store, table: Table, conditions: Sequence[ColumnElement[bool]]) -> int:
    number = select(func.count()).select_from(table).where(*conditions)
    with store.reading() as connection:
        return connection.scalar(number) or 0


def _aside(mark: Mark | None, replays: Sequence[Replay]) -> Mark | None:
    """The mark, if it holds: a replay after it takes it back."""
    if mark is None or not mark.done or any(one["at"] > mark.at for one in replays):
        return None
    return mark


def letter(store: Store, partition: int, offset: int) -> dict[str, Any] | None:
    """The dead letter that stands there, with its `replays` and who has set it `aside`."""
    try:
        wanted = Wanted(places=[place(f"{partition}/{offset}")])
    except BadPlace:
        return None
    found: list[dict[str, Any]]
    found = letters(store, wanted, show="all", limit=1, after=None).page.rows
    return found[0] if found else None


def letters_by_reason(store: Store, wanted: Wanted, *, show: str) -> list[tuple[str, str, int]]:
    """Origin's topic, reason and number of those that are wanted, the most first."""
    c = t.dead_letters.c
    query = select(c.origin, c.reason).where(*_wanted(wanted, show))
    found: dict[tuple[str, str], int] = {}
    with store.reading() as connection:
        for origin, reason in connection.execute(query):
            kind = origin.rsplit("/", 2)[0], reason
            found[kind] = found.get(kind, 0) + 1
    return sorted(((*kind, count) for kind, count in found.items()), key=lambda row: -row[2])


def _wanted(wanted: Wanted, show: str) -> list[ColumnElement[bool]]:
    """As `Wanted.includes`, in SQL; a link is told with its provider."""
    c = t.dead_letters.c
    asked: list[ColumnElement[bool] | None] = [
        or_(*(and_(c.partition == p, c.offset == o) for p, o in wanted.places))
        if wanted.places
        else None,
        func.lower(c.reason).contains(storable(wanted.reason).lower(), autoescape=True)
        if wanted.reason
        else None,
        c.stage == storable(wanted.stage) if wanted.stage else None,
        _of_provider(storable(wanted.provider)) if wanted.provider else None,
        c.key == f"{wanted.provider}:{wanted.link_id}".encode() if wanted.link_id else None,
        c.at >= wanted.since if wanted.since is not None else None,
        c.at < wanted.until if wanted.until is not None else None,
        _SHOWN[show]() if show in _SHOWN else None,
    ]
    return [condition for condition in asked if condition is not None]


def _of_provider(provider: str) -> ColumnElement[bool]:
    c = t.dead_letters.c
    raw = c.origin.startswith(f"callbacks.{provider}/", autoescape=True)
    key = provider.encode()
    by_key = and_(c.key >= key + b":", c.key < key + b";")
    return or_(raw, and_(~c.origin.startswith("callbacks."), by_key))


def _replays(store: Store, places: list[Place]) -> dict[Place, list[Replay]]:
    c = t.replays.c
    query = select(c.partition, c.offset, c.record).where(queries.standing_at(t.replays, places))
    found: dict[Place, list[Replay]] = {}
    with store.reading() as connection:
        for partition, offset, record in connection.execute(query.order_by(c.at)):
            found.setdefault(Place(partition, offset), []).append(json.loads(record))
    return found


def _found(providers: Sequence[str], search: str) -> SelectBase:
    """The keys of links. Each part has its index; the three together would not."""
    links, payments = t.link_status.c, t.link_payments.c
    return union(
        select(links.provider, links.link_id).where(
            links.provider.in_(providers), _begins(links.link_id, search)
        ),
        select(links.provider, links.link_id).where(_begins(links.order_id, search)),
        select(payments.provider, payments.link_id).where(_begins(payments.payment_id, search)),
    )


def _orders_found(providers: Sequence[str], search: str) -> SelectBase:
    """The keys of orders."""
    c = t.orders.c
    return select(c.provider, c.order_id).where(
        c.provider.in_(providers), _begins(c.order_id, search)
    )


def _begins(column: ColumnElement[str], search: str) -> ColumnElement[bool]:
    return and_(column >= search, column < search + _LAST)
