"""Queries for links. Blocking: call them in a thread."""

import json
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, SelectBase, func, select, union

from connectors.board.database import anomalies, paging
from connectors.board.database import tables as t
from connectors.board.database.paging import Cursor, Filters, Page, begins, records_of
from connectors.board.database.store import Store
from connectors.triage import audit
from connectors.triage.audit import Mark
from schemas import records as r


class Link(NamedTuple):
    """A link with its timeline, the oldest first. `actions` are the notices of what people did,
    `marks` the latest mark of each anomaly by its event id.
    """

    status: r.LinkStatus
    events: list[r.LinkEvent]
    anomalies: list[r.Anomaly]
    actions: list[r.Notice]
    marks: dict[str, Mark]


def find(store: Store, provider: str, link_id: str) -> Link | None:
    """Return the link with its whole timeline and all that people did about it."""
    name = {"provider": provider, "link_id": link_id}
    with store.reading() as connection:
        statuses = records_of(connection, t.link_status, **name)
        if not statuses:
            return None
        events = _events(connection, name)
        details = records_of(connection, t.anomalies, "at", "event_id", **name)
        subject = {"provider": provider, "subject_id": link_id}
        notices = records_of(connection, t.notices, "received_at", "event_id", **subject)
    actions = [notice for notice in notices if audit.is_link_action(notice)]
    marks = anomalies.marks(store, [anomaly["event_id"] for anomaly in details])
    return Link(statuses[0], events, details, actions, marks)


def _events(connection: Connection, name: dict[str, str]) -> list[r.LinkEvent]:
    """Return the events of a link, the oldest first: of repeats the one that was received first."""
    c = t.link_events.c
    order = c.received_at, c.offset
    number = func.row_number().over(partition_by=c.event_id, order_by=order).label("number")
    own = select(c.record, *order, number).where(*paging.equal(t.link_events, name)).subquery()
    query = select(own.c.record).where(own.c.number == 1)
    query = query.order_by(own.c.received_at, own.c.offset)
    return [json.loads(record) for record in connection.scalars(query)]


def search(
    store: Store,
    filters: Filters,
    limit: int,
    after: Cursor | None = None,
    *,
    prefix: str = "",
    providers: Sequence[str] = (),
) -> Page:
    """Return links by provider, status, order and time of change. With `prefix`, only links of
    `providers` whose own id, order id or payment id begins with it.
    """
    parts = _keys(providers, prefix) if prefix else []
    page = paging.records(
        *(store, t.link_status, paging.filtered(t.link_status, filters), limit, after),
        union(*parts) if parts else None,
    )
    return paging.marked_if_capped(store, page, parts)


def _keys(providers: Sequence[str], prefix: str) -> list[SelectBase]:
    """Return the keys of the links. Each part has its index; one condition for all has none."""
    links, payments = t.link_status.c, t.link_payments.c
    of_payments = select(payments.provider, payments.link_id)
    return [
        *(
            paging.some(
                select(links.provider, links.link_id).where(
                    links.provider == provider, begins(links.link_id, prefix)
                )
            )
            for provider in providers
        ),
        paging.some(select(links.provider, links.link_id).where(begins(links.order_id, prefix))),
        paging.some(of_payments.where(begins(payments.payment_id, prefix))),
    ]


def counts(store: Store) -> dict[str, dict[str, int]]:
    """Return the number of links by provider and status."""
    c = t.link_status.c
    query = select(c.provider, c.status, func.count()).group_by(c.provider, c.status)
    by_provider: dict[str, dict[str, int]] = {}
    with store.reading() as connection:
        for provider, status, number in connection.execute(query):
            by_provider.setdefault(provider, {})[status] = number
    return by_provider
