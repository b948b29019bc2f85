"""Queries for anomalies and their marks. Blocking: call them in a thread."""

import json
from collections.abc import Iterable

from sqlalchemy import ColumnElement, exists, func, select

from connectors.board.database import paging
from connectors.board.database import tables as t
from connectors.board.database.paging import Cursor, Filters, Page
from connectors.board.database.store import Store
from connectors.triage import audit
from connectors.triage.audit import Mark


def search(
    store: Store, filters: Filters, *, show: str, limit: int, after: Cursor | None = None
) -> Page:
    """Return pairs of an anomaly and its latest mark, or None. `show`: open, resolved or all."""
    page = paging.records(store, t.anomalies, _conditions(filters, show), limit, after)
    latest = marks(store, [anomaly["event_id"] for anomaly in page.rows])
    return Page([(anomaly, latest.get(anomaly["event_id"])) for anomaly in page.rows], page.next)


def count(store: Store, filters: Filters, *, show: str, most: int | None = None) -> int:
    """Return the number of anomalies, but not more than `most`."""
    return paging.count(store, t.anomalies, _conditions(filters, show), most)


def count_open_by_kind(store: Store, filters: Filters) -> list[tuple[str, str, int]]:
    """Return provider, kind and number of the open anomalies, the most first."""
    c = t.anomalies.c
    query = (
        select(c.provider, c.kind, func.count())
        .where(*_conditions(filters, "open"))
        .group_by(c.provider, c.kind)
        .order_by(func.count().desc())
    )
    with store.reading() as connection:
        return [tuple(row) for row in connection.execute(query)]


def marks(store: Store, event_ids: Iterable[str]) -> dict[str, Mark]:
    """Return the latest mark of each anomaly that has one, by its event id."""
    c = t.anomaly_marks.c
    query = select(c.anomaly_id, c.record).where(c.anomaly_id.in_(list(event_ids)))
    with store.reading() as connection:
        rows = connection.execute(query).all()
    return {event_id: audit.mark_of(json.loads(record)) for event_id, record in rows}


def is_resolved() -> ColumnElement[bool]:
    """Return the condition that the latest mark of an anomaly resolves it."""
    mark = t.anomaly_marks.c
    return exists().where(mark.anomaly_id == t.anomalies.c.event_id, mark.resolved)


def _conditions(filters: Filters, show: str) -> list[ColumnElement[bool]]:
    conditions = paging.filtered(t.anomalies, filters)
    if show != "all":
        conditions.append(is_resolved() if show == "resolved" else ~is_resolved())
    return conditions
