"""Queries for reconciled days. Blocking: call them in a thread."""

import json

from sqlalchemy import select

from connectors.board.database import paging
from connectors.board.database import tables as t
from connectors.board.database.paging import Cursor, Filters, Page
from connectors.board.database.store import Store
from schemas.payouts import Reconciliation


class ReconciledDay(Reconciliation):
    """A day of a provider; `reconciled_at` is when it was reconciled last, in microseconds."""

    reconciled_at: int


def search(store: Store, filters: Filters, limit: int, after: Cursor | None = None) -> Page:
    """Return days by provider, the latest day first; `since` and `until` are days."""
    conditions = paging.filtered(t.reconciliations, filters)
    page = paging.rows(store, t.reconciliations, conditions, limit, after)
    return Page([_day(row["record"], row["at"]) for row in page.rows], page.next)


def find(store: Store, provider: str, day: str) -> ReconciledDay | None:
    """Return one day, or None if it was never reconciled."""
    c = t.reconciliations.c
    names = {"provider": provider, "day": day}
    query = select(c.record, c.at).where(*paging.equal(t.reconciliations, names))
    with store.reading() as connection:
        row = connection.execute(query).first()
    return None if row is None else _day(row.record, row.at)


def _day(record: str, at: int) -> ReconciledDay:
    day: ReconciledDay = json.loads(record) | {"reconciled_at": at}
    return day
