"""The latest cases behind each problem of the first page: which link, and why. Blocking."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, and_, false, or_, select

from connectors.board.database import anomalies, dead_letters, waiting_orders
from connectors.board.database import tables as t
from connectors.board.database.store import Store
from connectors.board.database.waiting import Waiting
from connectors.board.database.waiting_orders import Overdue
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
    return Case("link", *link, _joined(*parts))


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
    return _words(known["amount_minor"], known["currency"]) or ""


def of_failed_orders(store: Store) -> list[Case]:
    """Return the orders that failed last."""
    c = t.orders.c
    query = select(c.record).where(c.state == "FAILED").order_by(c.changed_at.desc()).limit(_MOST)
    with store.reading() as connection:
        orders = [json.loads(record) for record in connection.scalars(query)]
    return [Case("order", one["provider"], one["order_id"], _failure(one)) for one in orders]


def _failure(order: Any) -> str:
    return _joined(_words(order["total_minor"], order["currency"]), order["failure"])


def of_overdue_orders(store: Store, overdue: Iterable[Overdue]) -> dict[str, list[Case]]:
    """Return the orders of each group that have waited longest, by `ORDERS_WAIT provider party`.
    Those that failed are a problem of their own.
    """
    found = {}
    for provider, party, *_, failed in overdue:
        if not failed:
            page = waiting_orders.search(store, party, {"provider": provider}, _MOST)
            orders = [order for order in page.rows if order["state"] != "FAILED"]
            why = waiting_orders.explain(store, orders)
            found[f"ORDERS_WAIT {provider} {party}"] = [_of_waiting(one, why) for one in orders]
    return found


def _of_waiting(order: Any, why: Mapping[tuple[str, str], Waiting | None]) -> Case:
    name = order["provider"], order["order_id"]
    waiting = why[name]
    amount = _words(order["total_minor"], order["currency"])
    return Case("order", *name, _joined(amount, waiting.reason if waiting else None))


def of_payouts(store: Store, providers: Iterable[str]) -> dict[str, list[Case]]:
    """Return orders of the latest day that differs, by `PAYOUTS_DIFFER provider`."""
    c = t.reconciliations.c
    query = select(c.record).where(c.differences > 0).order_by(c.day.desc()).limit(1)
    found = {}
    with store.reading() as connection:
        for provider in providers:
            record = connection.scalar(query.where(c.provider == provider))
            rows = [] if record is None else json.loads(record)["differences"]
            named = [row for row in rows if row["order_id"]][:_MOST]
            found[f"PAYOUTS_DIFFER {provider}"] = [_of_payout(provider, row) for row in named]
    return found


def _of_payout(provider: str, row: Any) -> Case:
    closed = _words(row["closed_minor"], row["currency"])
    paid_out = _words(row["gross_minor"], row["currency"])
    words = f"{row['outcome'].lower().replace('_', ' ')}: closed {closed or 'nothing'}"
    return Case("order", provider, row["order_id"], f"{words}, paid out {paid_out}")


def _words(minor: int | None, currency: str | None) -> str | None:
    return None if minor is None else in_words(minor, currency)


def _joined(*parts: str | None) -> str:
    return ", ".join(filter(None, parts))


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
