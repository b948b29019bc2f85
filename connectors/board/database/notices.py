"""Queries for notices. Blocking: call them in a thread."""

import json
from collections.abc import Sequence

from sqlalchemy import select

from connectors.board.database import paging
from connectors.board.database import tables as t
from connectors.board.database.paging import Cursor, Filters, Page
from connectors.board.database.store import Store
from connectors.providers.facts import LOOKED_UP
from connectors.triage import audit
from schemas.records import Notice

_Subject = tuple[str, str, str | None]


def search(store: Store, filters: Filters, limit: int, after: Cursor | None = None) -> Page:
    """Return notices by provider, kind and time. The `answer` to a claim is the status that the
    provider's API reports, once a lookup has brought it.
    """
    page = paging.records(store, t.notices, paging.filtered(t.notices, filters), limit, after)
    answers = _answers(store, [notice for notice in page.rows if not notice["verified"]])
    return Page([{**n, "answer": answers.get(_subject(n))} for n in page.rows], page.next)


def _subject(notice: Notice) -> _Subject:
    return notice["provider"], notice["kind"], notice["subject_id"]


def _answers(store: Store, claims: Sequence[Notice]) -> dict[_Subject, str | None]:
    """Return the status in the latest answer about each claim, by the claim's subject."""
    c, known = t.notices.c, dict.fromkeys(map(_subject, claims))
    query = select(c.record).where(
        c.provider.in_({provider for provider, _, _ in known}),
        c.subject_id.in_({subject_id for _, _, subject_id in known}),
    )
    with store.reading() as connection:
        notices = map(json.loads, connection.scalars(query.order_by(c.received_at)))
        for notice in notices:
            claim = notice["provider"], notice["kind"].removesuffix(LOOKED_UP), notice["subject_id"]
            if notice["verified"] and notice["kind"].endswith(LOOKED_UP) and claim in known:
                known[claim] = notice["status"]
    return known


def last_verification(store: Store) -> Notice | None:
    """Return the last result of `linkstatus verify`."""
    c = t.notices.c
    provider, subject, kind = audit.VERIFIED
    query = select(c.record).where(c.provider == provider, c.subject_id == subject, c.kind == kind)
    with store.reading() as connection:
        record = connection.scalar(query.order_by(c.received_at.desc()).limit(1))
    return record and json.loads(record)


def is_stored(store: Store, event_id: str) -> bool:
    """Return whether the store has this notice."""
    return paging.count(store, t.notices, paging.equal(t.notices, {"event_id": event_id})) > 0
