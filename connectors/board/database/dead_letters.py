"""Queries for dead letters, their replays and their marks. Blocking: call them in a thread.

A recreated topic restarts its offsets: a replay or a mark that is older than the dead letter at its
place does not apply to it.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import ColumnElement, Table, and_, exists, false, func, or_, select

from connectors.board.database import paging
from connectors.board.database import tables as t
from connectors.board.database.paging import Cursor, Page
from connectors.board.database.projection import storable
from connectors.board.database.store import Store
from connectors.triage import audit
from connectors.triage.audit import Mark
from connectors.triage.dead_letter import BadPlace, DeadLetter, Place, parse_place
from connectors.triage.filter import Filter
from schemas.records import Replay
from schemas.topics import DEAD_LETTERS

Row = dict[str, Any]
_WITHOUT_BODY = [
    *(column for column in t.dead_letters.c if column.name != "body"),
    func.coalesce(func.length(t.dead_letters.c.body), 0).label("size"),
]


def find(store: Store, partition: int, offset: int) -> Row | None:
    """Return the dead letter at this place, as `search` does."""
    try:
        place = parse_place(f"{partition}/{offset}")
    except BadPlace:
        return None
    rows: list[Row] = search(store, Filter(places=[place]), show="all", limit=1).rows
    return rows[0] if rows else None


def search(
    store: Store,
    filter: Filter,
    *,
    show: str,
    limit: int,
    after: Cursor | None = None,
    bodies: bool = True,
) -> Page:
    """Return dead letters as mappings of their columns, each with its `replays` and the mark that
    `resolved` it, or None. `show`: open, resolved or all. Without `bodies`, the column `size`
    replaces them: many take too much memory.
    """
    columns = None if bodies else _WITHOUT_BODY
    page = paging.rows(
        *(store, t.dead_letters, _conditions(filter, show), limit, after), columns=columns
    )
    places = [Place(row["partition"], row["offset"]) for row in page.rows]
    replays, latest = _replays(store, places), marks(store, places)
    rows = [
        _with_resolution(row, replays.get(place, []), latest.get(place))
        for place, row in zip(places, page.rows, strict=True)
    ]
    return Page(rows, page.next)


def _with_resolution(row: Row, replays: list[Replay], mark: Mark | None) -> Row:
    replays = [replay for replay in replays if replay["at"] >= row["at"]]
    # A replay after the mark reopens the dead letter.
    holds = (
        mark is not None
        and mark.resolved
        and mark.at >= row["at"]
        and not any(replay["at"] > mark.at for replay in replays)
    )
    return {
        **row,
        "headers": json.loads(row["headers"]),
        "replays": replays,
        "resolved": mark if holds else None,
    }


def search_without_bodies(
    store: Store, filter: Filter, *, show: str, limit: int
) -> list[DeadLetter]:
    """Return dead letters with their reason and origin only: many bodies take too much memory."""
    c = t.dead_letters.c
    query = (
        select(c.partition, c.offset, c.at, c.key, c.reason, c.origin)
        .where(*_conditions(filter, show))
        .order_by(c.at.desc(), c.partition.desc(), c.offset.desc())
        .limit(limit)
    )
    with store.reading() as connection:
        return [_without_body(row) for row in connection.execute(query)]


def _without_body(row: Any) -> DeadLetter:
    headers = (("reason", row.reason.encode()), ("origin", row.origin.encode()))
    return DeadLetter(Place(row.partition, row.offset), row.at, row.key, headers, None)


def count(store: Store, filter: Filter, *, show: str) -> int:
    """Return the number of dead letters."""
    return paging.count(store, t.dead_letters, _conditions(filter, show))


def count_by_reason(
    store: Store, filter: Filter, *, show: str, most: int | None = None
) -> list[tuple[str, str, int]]:
    """Return topic of origin, reason and number of dead letters, the most first. With `most`, only
    so many are counted, the newest.
    """
    c = t.dead_letters.c
    query = select(c.origin, c.reason).where(*_conditions(filter, show))
    if most is not None:
        query = query.order_by(c.at.desc()).limit(most)
    with store.reading() as connection:
        numbers = Counter(
            (origin.rsplit("/", 2)[0], reason) for origin, reason in connection.execute(query)
        )
    return [(topic, reason, number) for (topic, reason), number in numbers.most_common()]


def marks(store: Store, places: Iterable[Place]) -> dict[Place, Mark]:
    """Return the latest mark of each dead letter that has one."""
    found = _records_at(store, t.dead_letter_marks, places)
    return {place: audit.mark_of(notice) for place, notice in found}


def _replays(store: Store, places: Iterable[Place]) -> dict[Place, list[Replay]]:
    by_place: dict[Place, list[Replay]] = {}
    found = _records_at(store, t.replays, places)
    for place, replay in sorted(found, key=lambda pair: pair[1]["at"]):
        by_place.setdefault(place, []).append(replay)
    return by_place


def _records_at(store: Store, table: Table, places: Iterable[Place]) -> Iterator[tuple[Place, Any]]:
    """Return the records about the dead letters at these places."""
    c = table.c
    query = select(c.partition, c.offset, c.record).where(_at(table, places))
    with store.reading() as connection:
        rows = connection.execute(query).all()
    return ((Place(row.partition, row.offset), json.loads(row.record)) for row in rows)


def _at(table: Table, places: Iterable[Place]) -> ColumnElement[bool]:
    # One condition per partition: for pairs in one IN, SQLite scans the whole table, and to plan a
    # condition for each of fifty places takes it longer than to read them.
    c, offsets = table.c, defaultdict[int, list[int]](list)
    for partition, offset in places:
        offsets[partition].append(offset)
    return or_(
        false(), *(and_(c.partition == p, c.offset.in_(some)) for p, some in offsets.items())
    )


def _same_place(one: Table, other: Table) -> ColumnElement[bool]:
    return and_(one.c.partition == other.c.partition, one.c.offset == other.c.offset)


def is_resolved() -> ColumnElement[bool]:
    """Return the condition that the latest mark of a dead letter resolves it and no replay came
    after the mark.
    """
    mark = t.dead_letter_marks
    later = exists().where(_same_place(t.replays, mark), t.replays.c.at > mark.c.version)
    applies = and_(_same_place(mark, t.dead_letters), mark.c.version >= t.dead_letters.c.at)
    return exists().where(applies, mark.c.resolved, ~later)


def is_open() -> ColumnElement[bool]:
    """Return the condition that a dead letter is neither replayed nor resolved."""
    replayed = exists().where(
        _same_place(t.replays, t.dead_letters), t.replays.c.at >= t.dead_letters.c.at
    )
    return and_(~replayed, ~is_resolved())


def _conditions(filter: Filter, show: str) -> list[ColumnElement[bool]]:
    """Return what `Filter.matches` does, in SQL. A link id needs its provider."""
    c = t.dead_letters.c
    conditions: list[ColumnElement[bool]] = []
    if filter.places:
        conditions += [c.topic == DEAD_LETTERS.name, _at(t.dead_letters, filter.places)]
    if filter.reason:
        reason = storable(filter.reason).lower()
        conditions.append(func.lower(c.reason).contains(reason, autoescape=True))
    if filter.stage:
        conditions.append(c.stage == storable(filter.stage))
    if filter.provider:
        conditions.append(_of_provider(storable(filter.provider)))
    if filter.link_id:
        conditions.append(c.link_key == storable(f"{filter.provider}:{filter.link_id}"))
    if filter.since is not None:
        conditions.append(c.at >= filter.since)
    if filter.until is not None:
        conditions.append(c.at < filter.until)
    if show != "all":
        conditions.append(is_resolved() if show == "resolved" else is_open())
    return conditions


def _of_provider(provider: str) -> ColumnElement[bool]:
    c = t.dead_letters.c
    from_its_topic = c.origin.startswith(f"callbacks.{provider}/", autoescape=True)
    by_key = paging.begins(c.link_key, f"{provider}:")
    return or_(from_its_topic, and_(~c.origin.startswith("callbacks."), by_key))
