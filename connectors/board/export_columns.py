"""The columns of the exports. Amounts are decimal numbers in major units of their currency."""

import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from operator import itemgetter
from typing import Any

from connectors.board.database.money import SHOWN
from connectors.board.http.csv_text import Cell
from connectors.board.overview.order_progress import durations
from connectors.masking import masked_attributes
from connectors.serialize import rfc3339
from schemas.money import BadAmount, in_words, major_units

Column = Callable[[Any], Cell]
Columns = Mapping[str, Column]


def _same(*names: str) -> dict[str, Column]:
    return {name: itemgetter(name) for name in names}


def _times(*names: str) -> dict[str, Column]:
    return {name: partial(_time, name) for name in names}


def _time(name: str, row: Any) -> Cell:
    return rfc3339(row[name])


def _amounts(**fields: str) -> dict[str, Column]:
    return {name: partial(_amount, field) for name, field in fields.items()}


def _amount(field: str, row: Any) -> Cell:
    return _major(row[field], row["currency"])


def _major(minor: int | None, currency: str | None) -> Cell:
    # Nothing is nothing in every currency, and most links have no refund.
    if not minor:
        return minor
    try:
        return major_units(minor, currency or "")
    except BadAmount:
        return in_words(minor, currency)


def _joined(name: str) -> Column:
    return lambda row: " ".join(row[name])


def _waiting(row: Any) -> Cell:
    return row["waiting"].reason if row["waiting"] else None


def _requested(row: Any) -> tuple[int | None, str | None]:
    """Return what was paid; before a payment, what the link was registered with."""
    known = row["registration"] if row["registration"] and row["amount_minor"] is None else row
    return known["amount_minor"], known["currency"]


LINKS: Columns = {
    **_same("provider", "link_id", "status", "claimed_status", "order_id", "order_state"),
    "payment_ids": _joined("payment_ids"),
    "amount": lambda row: _major(*_requested(row)),
    "currency": lambda row: _requested(row)[1],
    **_amounts(
        received="received_minor",
        refunded="refunded_minor",
        disputed="disputed_minor",
        net="net_minor",
    ),
    **_same("coverage"),
    "anomalies": _joined("anomalies"),
    "waiting": _waiting,
    **_times("first_seen_at", "changed_at"),
}
ORDERS: Columns = {
    **_same("provider", "order_id", "state", "stage"),
    **_amounts(total="total_minor"),
    **_same("currency"),
    "links": lambda row: len(row["links"]),
    "waiting": _waiting,
    **_same("failure"),
    **_times("decided_at"),
    "closed_at": lambda row: rfc3339(durations(row).closed_at),
    "settled_at": lambda row: rfc3339(durations(row).settled_at),
    **_times("changed_at"),
}


def _resolved() -> dict[str, Column]:
    def mark(row: Any) -> Any:
        return row["resolved"] if row["resolved"] and row["resolved"].resolved else None

    return {
        "resolved_by": lambda row: (found := mark(row)) and found.by,
        "resolved_at": lambda row: (found := mark(row)) and rfc3339(found.at),
        "note": lambda row: (found := mark(row)) and found.note,
    }


ANOMALIES: Columns = {
    **_same("event_id", "provider", "link_id", "kind", "detail"),
    **_times("at"),
    **_resolved(),
}
DEAD_LETTERS: Columns = {
    **_same("partition", "offset"),
    **_times("at"),
    **_same("reason", "stage", "origin"),
    "key": lambda row: row["key"] and row["key"].decode(errors="replace"),
    "bytes": lambda row: row["size"],
    "replayed_at": lambda row: rfc3339(row["replays"][-1]["at"]) if row["replays"] else None,
    **_resolved(),
}
NOTICES: Columns = {
    **_same("event_id", "provider", "kind", "subject_id", "status"),
    "verified": lambda row: str(row["verified"]).lower(),
    **_same("answer", "origin"),
    **_times("received_at"),
    "attributes": lambda row: json.dumps(masked_attributes(row["attributes"]), ensure_ascii=False),
}
RECONCILIATIONS: Columns = {
    **_same("provider", "day", "matched", "missing", "amount_differs", "unknown_to_us", "other"),
    **_same("currency"),
    **_amounts(
        closed="closed_minor",
        paid_out="gross_minor",
        fees="fee_minor",
        refunds="refunded_minor",
        net="net_minor",
    ),
    **_times("reconciled_at"),
}
_NO_SUMS = dict.fromkeys(
    ("currency", "closed_minor", "gross_minor", "fee_minor", "refunded_minor", "net_minor")
)


def by_currency(day: Any) -> Iterator[dict[str, Any]]:
    """Return a row for each currency of a reconciled day."""
    for sums in day["sums"] or [_NO_SUMS]:
        yield {**day, **sums}


def _sum(measure: str) -> dict[str, Column]:
    return {
        measure: lambda row: _major(row[measure].amount_minor, row["currency"]),
        f"{measure}_number": lambda row: row[measure].number,
        f"{measure}_of_unknown_amount": lambda row: row[measure].unknown,
    }


MONEY: Columns = {
    **_same("day", "currency"),
    **{name: column for measure in SHOWN for name, column in _sum(measure).items()},
}
