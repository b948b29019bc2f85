"""Lists of rows, page by page, the newest first. Blocking: call them in a thread."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    SelectBase,
    Table,
    and_,
    func,
    literal,
    select,
    tuple_,
)

from connectors.board.database import tables as t
from connectors.board.database.projection import storable
from connectors.board.database.store import Store

Cursor = tuple[str | int, ...]
Conditions = Sequence[ColumnElement[bool]]
# Values of columns by name, and `since` and `until`, of the type of the column sorted by.
Filters = Mapping[str, Any]


class Page(NamedTuple):
    """Rows, the newest first, and the cursor of the next page (None at the end). `capped`: more
    ids match the search than it looks at.
    """

    rows: list[Any]
    next: Cursor | None
    capped: bool = False


# The sort order of each list. It ends with a unique column, so that a cursor is one position.
_ORDER: dict[Table, Sequence[str]] = {
    t.link_status: ("changed_at", "provider", "link_id"),
    t.orders: ("changed_at", "provider", "order_id"),
    t.anomalies: ("at", "event_id"),
    t.dead_letters: ("at", "topic", "partition", "offset"),
    t.notices: ("received_at", "event_id"),
    t.reconciliations: ("day", "provider"),
}
_AFTER_ALL_TEXT = "\U0010ffff"
# The most ids of one kind that a search finds.
MOST_MATCHES = 500


def cursor_types(table: Table) -> tuple[type, ...]:
    """Return the types of the parts of a cursor of this table."""
    return tuple(table.c[name].type.python_type for name in _ORDER[table])


def rows(
    store: Store,
    table: Table,
    conditions: Conditions,
    limit: int,
    after: Cursor | None,
    keys: SelectBase | None = None,
    columns: Sequence[ColumnElement[Any]] | None = None,
) -> Page:
    """Return a page of rows as mappings; with `keys`, only rows that have one of these keys. With
    `columns`, only these.
    """
    order = [table.c[name] for name in _ORDER[table]]
    query = select(*(columns or table.c)).where(*conditions)
    if keys is not None:
        # A join makes a few keys cheap: for IN, SQLite scans the whole table.
        subquery = keys.subquery()
        query = query.join(subquery, and_(*(table.c[key.name] == key for key in subquery.c)))
    if after is not None:
        query = query.where(tuple_(*order) < tuple(storable(part) for part in after))
    query = query.order_by(*(column.desc() for column in order)).limit(limit + 1)
    with store.reading() as connection:
        found = [dict(row) for row in connection.execute(query).mappings()]
    if len(found) <= limit:
        return Page(found, None)
    last = found[limit - 1]
    return Page(found[:limit], tuple(last[column.name] for column in order))


def following(found: Sequence[Sequence[Any]], limit: int, first: int) -> Cursor | None:
    """Return the position behind a page of `limit` rows, if `found` has more of them. The position
    of a row begins at its column `first`.
    """
    return tuple(found[limit - 1][first:]) if len(found) > limit else None


def records(
    store: Store,
    table: Table,
    conditions: Conditions,
    limit: int,
    after: Cursor | None,
    keys: SelectBase | None = None,
) -> Page:
    """Return a page of whole records."""
    page = rows(store, table, conditions, limit, after, keys)
    return Page([json.loads(row["record"]) for row in page.rows], page.next)


def records_of(connection: Connection, table: Table, *order: str, **columns: str) -> list[Any]:
    """Return all records whose columns have these values, in the order of the columns `order`."""
    query = select(table.c.record).where(*equal(table, columns))
    query = query.order_by(*(table.c[name] for name in order))
    return [json.loads(record) for record in connection.scalars(query)]


def count(store: Store, table: Table, conditions: Conditions = (), most: int | None = None) -> int:
    """Return the number of rows, but not more than `most`."""
    rows = select(literal(1)).select_from(table).where(*conditions).limit(most)
    query = select(func.count()).select_from(rows.subquery())
    with store.reading() as connection:
        return connection.scalar(query) or 0


def equal(table: Table, columns: Mapping[str, str]) -> list[ColumnElement[bool]]:
    """Return the conditions that the columns have these values."""
    return [table.c[name] == storable(value) for name, value in columns.items()]


def filtered(
    table: Table, filters: Filters, time: ColumnElement[int] | None = None
) -> list[ColumnElement[bool]]:
    """Return the conditions of the filters: columns have these values, and the time, by default the
    one that the list is sorted by, is not before `since` and before `until`.
    """
    columns = {name: value for name, value in filters.items() if name not in ("since", "until")}
    conditions = equal(table, columns)
    if time is None:
        time = table.c[_ORDER[table][0]]
    if "since" in filters:
        conditions.append(time >= filters["since"])
    if "until" in filters:
        conditions.append(time < filters["until"])
    return conditions


def some(query: Select[Any]) -> SelectBase:
    """Return at most `MOST_MATCHES` of the rows: a search for a few characters may match all."""
    return select(query.limit(MOST_MATCHES).subquery())


def marked_if_capped(store: Store, page: Page, parts: Iterable[SelectBase]) -> Page:
    """Return the page of a search with `capped`: a part has as many rows as it may have."""
    if page.next is None:  # fewer match than a page holds
        return page
    counts = (select(func.count()).select_from(part.subquery()) for part in parts)
    with store.reading() as connection:
        return page._replace(capped=any(connection.scalar(c) == MOST_MATCHES for c in counts))


def begins(column: ColumnElement[str], prefix: str) -> ColumnElement[bool]:
    """Return the condition that the column begins with `prefix`. An index answers it."""
    text = storable(prefix)
    return and_(column >= text, column < text + _AFTER_ALL_TEXT)
