"""What the row of a link, an order or a reconciled day adds to the money of a day. Pure.

Each amount counts on the UTC day on which it happened: a link on the day it came, an order on the
day of its close and on that of its settlement, a refund on the day the money went back, a payout on
the day that was reconciled. A link that only claims know counts nowhere.
"""

import json
from collections.abc import Iterable, Iterator
from datetime import date
from functools import lru_cache
from itertools import pairwise
from typing import Literal, NamedTuple, get_args

from schemas import times
from schemas.payouts import Reconciliation, ReconciliationRow
from schemas.records import LinkStatus, OrderStatus, Status, was_closed_elsewhere
from schemas.refund_records import LinkRefund, amount_of

# What became of a link. Each link counts once among these, on the day it came.
Fate = Literal["open", "paid", "expired", "cancelled", "failed"]
FATES: tuple[Fate, ...] = get_args(Fate)
# What counts of a link, an order and a reconciled day.
LinkMeasure = Literal[Fate, "refunded", "disputed"]
OrderMeasure = Literal["closed", "awaited", "settled"]
Measure = Literal[LinkMeasure, OrderMeasure, "paid_out", "different"]
# Where the money of an order is, in one vocabulary for all providers. The last one is final.
Stage = Literal["OPEN", "CLOSED", "SETTLED"]
_FATES: dict[Status, Fate] = {
    "PAID": "paid",
    "EXPIRED": "expired",
    "CANCELLED": "cancelled",
    "FAILED": "failed",
}
NO_CURRENCY = ""
# Requests and addresses name it so: ISO 4217 has it for transactions without a currency.
UNKNOWN_CURRENCY = "XXX"


class Figure(NamedTuple):
    """So many of a measure at a time (microseconds, UTC); `unknown` of them have no known amount,
    which is then not in `amount_minor`. `currency` is empty where it is not known.
    """

    at: int
    currency: str
    measure: Measure
    number: int
    amount_minor: int
    unknown: int

    @property
    def day(self) -> str:
        return day_of(self.at)


def dumps(figures: Iterable[Figure]) -> str:
    """Return the figures as the column of a row stores them."""
    return json.dumps(list(figures))


def loads(text: str | None) -> list[Figure]:
    """Return the figures of the column."""
    return [Figure(*figure) for figure in json.loads(text)] if text else []


def day_of(micros: int) -> str:
    """Return the UTC day, such as 2026-11-30; empty for a time after the year 9999."""
    return _day(micros // times.DAY)


@lru_cache(maxsize=1024)
def _day(number: int) -> str:
    try:
        return str(times.day_of(number * times.DAY))
    except (OverflowError, ValueError):
        return ""


def stage(order: OrderStatus) -> Stage:
    """Return where the money of the order is: SETTLED once its settlement is confirmed. An order
    that was closed elsewhere, before its links were imported, is CLOSED, and counts nowhere.
    """
    if order["decided_at"] is None:
        return "CLOSED" if was_closed_elsewhere(order) else "OPEN"
    return "CLOSED" if _settled_at(order) is None else "SETTLED"


def of_link(link: LinkStatus) -> Iterator[Figure]:
    """Return what the link adds: what became of it, what went back, and what is in dispute."""
    if not link["verified"]:
        return
    registration = link["registration"]
    known = registration if registration and link["amount_minor"] is None else link
    money = known["amount_minor"], known["currency"]
    yield _figure(link["first_seen_at"], _FATES.get(link["status"], "open"), *money)
    yield from _refunded(link)
    contested = [r for r in link["refunds"] if r["kind"] in ("DISPUTE", "CHARGEBACK")]
    pending = [_at(link, r) for r in contested if r["state"] == "PENDING"]
    if pending and link["disputed_minor"] != 0:
        yield _figure(min(pending), "disputed", link["disputed_minor"], link["currency"])


def _refunded(link: LinkStatus) -> Iterator[Figure]:
    """Return what went back, each on its day: the sum of all is the link's `refunded_minor`.

    A reversal of a chargeback takes back what that chargeback took, and no more.
    """
    executed = [refund for refund in link["refunds"] if refund["state"] == "EXECUTED"]
    executed.sort(key=lambda refund: (_at(link, refund), refund["refund_id"], refund["kind"]))
    known = [(refund, _amount(link, refund)) for refund in executed]
    totals = [0]
    charged_back = other = 0
    for refund, amount in known:
        if refund["kind"] == "CHARGEBACK":
            charged_back += amount or 0
        elif refund["kind"] == "CHARGEBACK_REVERSAL":
            charged_back -= amount or 0
        else:
            other += amount or 0
        totals.append(other + max(0, charged_back))
    for (refund, amount), (before, after) in zip(known, pairwise(totals), strict=True):
        minor = None if amount is None else after - before
        yield _figure(_at(link, refund), "refunded", minor, link["currency"])


def _at(link: LinkStatus, refund: LinkRefund) -> int:
    return refund["times"].get(refund["state"], link["changed_at"])


def _amount(link: LinkStatus, refund: LinkRefund) -> int | None:
    if refund["currency"] not in (None, link["currency"]):
        return None
    return amount_of(refund, link["amount_minor"])


def of_order(order: OrderStatus) -> Iterator[Figure]:
    """Return what the order adds, once its close is decided."""
    decided_at, settled_at = order["decided_at"], _settled_at(order)
    if decided_at is None:
        return
    for currency, minor in _totals(order):
        yield _figure(decided_at, "closed", minor, currency)
        if settled_at is None:
            yield _figure(decided_at, "awaited", minor, currency)
        else:
            yield _figure(settled_at, "settled", minor, currency)


def _settled_at(order: OrderStatus) -> int | None:
    return order["settlements"].get("CONFIRMED", order["steps"].get("SETTLED"))


def _totals(order: OrderStatus) -> list[tuple[str | None, int | None]]:
    """Return the total of the close; where it has several currencies, one total for each."""
    counted = [link for link in order["links"] if link["link_id"] in order["closed_link_ids"]]
    currencies = sorted({link["currency"] or NO_CURRENCY for link in counted})
    if order["total_minor"] is not None or len(currencies) < 2:
        currency = order["currency"] or next(iter(currencies), None)
        return [(currency, order["total_minor"])]
    totals: list[tuple[str | None, int | None]] = []
    for currency in currencies:
        amounts = [one["amount_minor"] for one in counted if (one["currency"] or "") == currency]
        known = [amount for amount in amounts if amount is not None]
        totals.append((currency, sum(known) if len(known) == len(amounts) else None))
    return totals


def of_reconciliation(day: Reconciliation) -> Iterator[Figure]:
    """Return what was paid out, and by how much it differs from what was closed."""
    at = times.start_of(date.fromisoformat(day["day"]))
    for sums in day["sums"]:
        gross, currency = sums["gross_minor"], sums["currency"]
        listed = sum(one["currency"] == currency for one in day["payouts"])
        if listed or gross:
            yield Figure(at, currency, "paid_out", max(1, listed), gross, 0)
    for row in day["differences"]:
        yield Figure(at, row["currency"] or NO_CURRENCY, "different", 1, *_difference(row))
    number = day["missing"] + day["amount_differs"] + day["unknown_to_us"]
    if unlisted := number - len(day["differences"]):
        yield Figure(at, NO_CURRENCY, "different", unlisted, 0, unlisted)


def _difference(row: ReconciliationRow) -> tuple[int, int]:
    """Return by how much more was paid out than closed, and whether that is unknown."""
    if row["currency"] is None:
        return 0, 1
    return row["gross_minor"] - (row["closed_minor"] or 0), 0


def _figure(at: int, measure: Measure, minor: int | None, currency: str | None) -> Figure:
    currency = currency or NO_CURRENCY
    return Figure(at, currency, measure, 1, minor or 0, int(minor is None))
