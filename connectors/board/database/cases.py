"""The latest cases behind each problem of the first page: which link, and why. Blocking."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, and_, false, or_, select

from connectors.board.database import anomalies, dead_letters
from connectors.board.database import tables as t
from connectors.board.database.store import Store
from schemas.money import in_words

_MOST = 3


@dataclass(frozen=True, slots=True)
class Case:
    """A link, an order or a dead letter (its id is its place), and what is wrong with it."""

    thing: Literal["link", "order", "dead letter"]
    provider: str
    id: str
    detail: str


def of_anomalies(store: Store, kinds: Iterable[str]) -> dict[str, list[Case]]:
    """Return the latest links with an open anomaly, by its kind."""
    c = t.anomalies.c
    query = select(c.record).where(~anomalies.is_resolved())
    query = query.order_by(c.at.desc(), c.event_id.desc()).limit(_MOST)
    with store.reading() as connection:
        found = {
            kind: [json.loads(one) for one in connection.scalars(query.where(c.kind == kind))]
            for kind in kinds
        }
        amounts = _amounts(connection, [one for some in found.values() for one in some])
    return {kind: [_of_anomaly(one, amounts) for one in some] for kind, some in found.items()}


def _of_anomaly(anomaly: Any, amounts: dict[tuple[str, str], str]) -> Case:
    link = anomaly["provider"], anomaly["link_id"]
    # The evidence ends with its place on Kafka.
    detail, amount = anomaly["detail"].partition(" [")[0], amounts.get(link, "")
    parts = (amount, detail) if amount not in detail else (detail,)
    return Case("link", *link, ", ".join(filter(None, parts)))


def _amounts(connection: Connection, found: Sequence[Any]) -> dict[tuple[str, str], str]:
    """Return the amounts of the links, where they are known."""
    c = t.link_status.c
    # One condition per link: for pairs in one IN, SQLite scans the whole table.
    links = {(one["provider"], one["link_id"]) for one in found}
    conditions = (and_(c.provider == provider, c.link_id == id_) for provider, id_ in links)
    query = select(c.record).where(or_(false(), *conditions))
    rows = map(json.loads, connection.scalars(query))
    return {(row["provider"], row["link_id"]): _amount(row) for row in rows}


def _amount(link: Any) -> str:
    """Return what was paid; before a payment, what the link was registered with."""
    known = link if link["amount_minor"] is not None else link["registration"] or link
    return (
        "" if known["amount_minor"] is None else in_words(known["amount_minor"], known["currency"])
    )


def of_failed_orders(store: Store) -> list[Case]:
    """Return the orders that failed last."""
    c = t.orders.c
    query = select(c.record).where(c.state == "FAILED").order_by(c.changed_at.desc()).limit(_MOST)
    with store.reading() as connection:
        orders = [json.loads(record) for record in connection.scalars(query)]
    return [Case("order", one["provider"], one["order_id"], _failure(one)) for one in orders]


def _failure(order: Any) -> str:
    minor = order["total_minor"]
    amount = None if minor is None else in_words(minor, order["currency"])
    return ", ".join(filter(None, (amount, order["failure"])))


def of_dead_letters(store: Store, groups: Iterable[tuple[str, int, int]]) -> list[Case]:
    """Return the last open dead letter of each reason. `groups`: reason, number, last time."""
    with store.reading() as connection:
        return [case for group in groups for case in _of_reason(connection, *group)]


def _of_reason(connection: Connection, reason: str, number: int, last_at: int) -> Iterator[Case]:
    c = t.dead_letters.c
    query = select(c.partition, c.offset, c.origin).where(
        c.at == last_at, c.reason == reason, dead_letters.is_open()
    )
    for row in connection.execute(query.limit(1)):
        provider = row.origin.removeprefix("callbacks.").partition("/")[0]
        yield Case(
            "dead letter", provider, f"{row.partition}/{row.offset}", f"{reason} ({number:,})"
        )
