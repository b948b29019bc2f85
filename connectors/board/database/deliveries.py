"""The callbacks that arrived about a link, each repeat too. Blocking: call it in a thread.

The edge answers 200 once a callback is on Kafka, and nothing of any other answer is stored by link.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from sqlalchemy import func, select

from connectors.board.database import dead_letters, paging
from connectors.board.database import tables as t
from connectors.board.database.store import Store
from connectors.triage.filter import Filter

# The most of each kind, the newest.
MOST = 50
_ANSWER = 200


class Delivery(NamedTuple):
    """One callback. `at` in microseconds, UTC; `says` is the provider's word, or why no rule
    understood it (then it is a `dead_letter`, partition/offset). `event_id` is the same for all
    repeats, `number` counts them. `origin` is its place on Kafka.
    """

    at: int
    says: str
    event_id: str | None
    number: int
    verified: bool
    answer: int
    origin: str
    dead_letter: str | None


def of_link(store: Store, provider: str, link_id: str) -> list[Delivery]:
    """Return the newest callbacks about the link, the newest first."""
    found = [*_understood(store, provider, link_id), *_dead_letters(store, provider, link_id)]
    return sorted(found, key=lambda one: (one.at, one.origin), reverse=True)


def _understood(store: Store, provider: str, link_id: str) -> Iterator[Delivery]:
    c = t.link_events.c
    number = func.row_number().over(partition_by=c.event_id, order_by=(c.received_at, c.offset))
    own = paging.equal(t.link_events, {"provider": provider, "link_id": link_id})
    query = select(c.record, number).where(*own, c.delivery != "")
    query = query.order_by(c.received_at.desc(), c.offset.desc()).limit(MOST)
    with store.reading() as connection:
        rows = connection.execute(query).all()
    for record, count in rows:
        event = json.loads(record)
        yield Delivery(
            at=event["received_at"],
            says=event["provider_status"],
            event_id=event["event_id"],
            number=count,
            verified=event["verified"],
            answer=_ANSWER,
            origin=event["origin"],
            dead_letter=None,
        )


def _dead_letters(store: Store, provider: str, link_id: str) -> Iterator[Delivery]:
    own = Filter(provider=provider, link_id=link_id)
    page = dead_letters.search(store, own, show="all", limit=MOST, bodies=False)
    for row in page.rows:
        headers: Mapping[str, Any] = dict(row["headers"])
        if row["origin"].startswith("callbacks.") and headers.get("source") == "callback":
            yield Delivery(
                at=row["at"],
                says=row["reason"],
                event_id=None,
                number=1,
                verified=headers.get("verified") == "1",
                answer=_ANSWER,
                origin=row["origin"],
                dead_letter=f"{row['partition']}/{row['offset']}",
            )
