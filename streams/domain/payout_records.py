"""The records of a reconciliation: payouts, the days, and what becomes of the orders.

They contain no time of their own, so that the same results give the same bytes.
"""

import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TypedDict

from schemas.ids import event_id
from schemas.limits import DETAIL_CHARACTERS, PAYOUT_ITEMS, RECONCILIATION_ROWS
from schemas.payouts import (
    Payout,
    PayoutItem,
    PayoutLine,
    PayoutSum,
    Reconciliation,
    ReconciliationRow,
    ReconciliationSums,
)
from schemas.records import OrderUpdate
from streams.domain.reconcile import (
    DIFFERENCES,
    Amounts,
    Result,
    Row,
    amounts,
    closed_amounts,
    day_of,
)

# Payouts that a row names. With more, a difference is not found by reading.
_MOST_PAYOUTS = 5


def reconciliation_of(provider: str, result: Result) -> Reconciliation:
    """Return the record of one day. `result` is of that day."""
    rows = [row_of(row) for row in result.rows if row.outcome in DIFFERENCES]
    day = result.period.day()
    record: Reconciliation = {
        "event_id": "",
        "provider": provider,
        "day": day,
        "matched": result.count("MATCHED"),
        "missing": result.count("MISSING"),
        "amount_differs": result.count("AMOUNT_DIFFERS"),
        "unknown_to_us": result.count("UNKNOWN_TO_US"),
        "other": result.count("OTHER"),
        "sums": sums_of(result),
        "differences": rows[:RECONCILIATION_ROWS],
        "payouts": _payout_sums(result)[:RECONCILIATION_ROWS],
    }
    return {**record, "event_id": event_id("reconciliation", provider, day, _content(record))}


def sums_of(result: Result) -> list[ReconciliationSums]:
    """Return the sums by currency: of the closes in the rows, and of the lines of the period."""
    paid = amounts(result.lines())
    closed: dict[str, int] = {}
    for row in result.rows:
        for currency, minor in (_closed(row) or {}).items():
            closed[currency] = closed.get(currency, 0) + minor
    return [
        {
            "currency": currency,
            "closed_minor": closed.get(currency, 0),
            **_fields(paid.get(currency, Amounts())),
        }
        for currency in sorted(paid.keys() | closed.keys())
    ]


def _closed(row: Row) -> dict[str, int] | None:
    return None if row.close is None else closed_amounts(row.close)


class _Sums(TypedDict):
    gross_minor: int
    fee_minor: int
    refunded_minor: int
    net_minor: int


def _fields(sums: Amounts) -> _Sums:
    return {
        "gross_minor": sums.gross,
        "fee_minor": sums.fee,
        "refunded_minor": sums.refunded,
        "net_minor": sums.net,
    }


def row_of(row: Row) -> ReconciliationRow:
    """Return the record of one row, with all its lines."""
    sums, closed = amounts(row.lines), _closed(row)
    currencies = sums.keys() | (closed or {}).keys()
    currency = next(iter(currencies)) if len(currencies) == 1 else None
    return {
        "outcome": row.outcome,
        "subject": row.subject,
        "order_id": row.close and row.close["order_id"],
        "currency": currency,
        # The amounts of a row with several currencies have no sum: `detail` names them.
        "closed_minor": closed.get(currency) if closed and currency else None,
        **_fields(sums.get(currency or "", Amounts())),
        "payout_ids": payout_ids(row)[:_MOST_PAYOUTS],
        "detail": row.detail[:DETAIL_CHARACTERS],
    }


def payout_ids(row: Row) -> list[str]:
    """Return the payouts with lines of the row; the day of a line that names none."""
    return sorted({line.payout_id or day_of(line.at) for line in row.lines})


def _payout_sums(result: Result) -> list[PayoutSum]:
    def key(line: PayoutLine) -> tuple[str, str]:
        return line.payout_id or day_of(line.at), line.currency

    sums: list[PayoutSum] = []
    for (payout_id, currency), group in groupby(sorted(result.lines(), key=key), key):
        lines = list(group)
        net = sum(line.net_minor for line in lines)
        sums.append(
            {"payout_id": payout_id, "currency": currency, "lines": len(lines), "net_minor": net}
        )
    return sums


def payouts_of(provider: str, result: Result) -> Iterator[Payout]:
    """Yield the payouts of one day with their lines. `result` is of that day."""
    day = result.period.day()
    items = [
        (line.payout_id or day, _item(line, row))
        for row in result.rows
        for line in row.lines
        if result.period.has(line.at)
    ]
    items.sort(key=lambda item: (item[0], item[1]["line_id"]))
    for payout_id, group in groupby(items, lambda item: item[0]):
        yield from _parts(provider, payout_id, day, [item for _, item in group])


def _parts(
    provider: str, payout_id: str, day: str, items: Sequence[PayoutItem]
) -> Iterator[Payout]:
    parts = -(-len(items) // PAYOUT_ITEMS)
    for part in range(parts):
        record: Payout = {
            "event_id": "",
            "provider": provider,
            "payout_id": payout_id,
            "day": day,
            "part": part + 1,
            "parts": parts,
            "items": list(items[part * PAYOUT_ITEMS : (part + 1) * PAYOUT_ITEMS]),
        }
        identity = (provider, payout_id, day, part, _content(record))
        yield {**record, "event_id": event_id("payout", *identity)}


def _item(line: PayoutLine, row: Row) -> PayoutItem:
    return {
        "line_id": line.line_id,
        "kind": line.kind,
        "payment_id": line.payment_id,
        "link_id": line.link_id,
        "reference": line.reference or line.order_id,
        "currency": line.currency,
        "gross_minor": line.gross_minor,
        "fee_minor": line.fee_minor,
        "net_minor": line.net_minor,
        "at": line.at,
        "outcome": row.outcome,
        "order_id": row.close and row.close["order_id"],
    }


def _content(record: Payout | Reconciliation) -> str:
    return json.dumps(record, sort_keys=True)


def settled_orders(provider: str, result: Result) -> Iterator[OrderUpdate]:
    """Yield the updates of the orders whose whole money was paid out: they are settled.

    The worker confirms the settlement of an order once, however often the update comes.
    """
    for row in result.rows:
        if row.outcome == "MATCHED" and row.close is not None and row.lines:
            yield {
                "provider": provider,
                "order_id": row.close["order_id"],
                "step": "SETTLED",
                "reason": None,
                "at": max(line.at for line in row.lines),
            }
