"""Reconcile: what a provider paid out, against the orders that we closed.

Amounts are integers in minor units, signed as the merchant sees them; times are microseconds, UTC.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from schemas import times
from schemas.money import in_words
from schemas.payouts import PayoutKind, PayoutLine, ReconciliationOutcome
from schemas.records import OrderClose
from schemas.times import DAY
from streams.domain.rules import utc_text

# The outcomes that a person has to judge.
DIFFERENCES: tuple[ReconciliationOutcome, ...] = ("MISSING", "AMOUNT_DIFFERS", "UNKNOWN_TO_US")
OUTCOMES: tuple[ReconciliationOutcome, ...] = (*DIFFERENCES, "MATCHED", "OTHER")
# Lines that need no order: what the provider keeps, and money on its way to the bank.
_NO_ORDER: frozenset[PayoutKind] = frozenset({"FEE", "TRANSFER"})


class Period(NamedTuple):
    """A time span: `start` is inclusive, `end` exclusive."""

    start: int
    end: int

    def has(self, at: int) -> bool:
        return self.start <= at < self.end

    def days(self) -> Iterator["Period"]:
        """Yield the UTC days of a period that begins and ends with a day."""
        return (Period(start, start + DAY) for start in range(self.start, self.end, DAY))

    def day(self) -> str:
        """Return the UTC day of the start, such as 2026-11-01."""
        return day_of(self.start)


def day_of(at: int) -> str:
    return str(times.day_of(at))


@dataclass(frozen=True, slots=True)
class Amounts:
    """Sums of lines of one currency. `gross` counts the payments only, before fees."""

    gross: int = 0
    fee: int = 0
    refunded: int = 0
    net: int = 0

    def __add__(self, other: "Amounts") -> "Amounts":
        return Amounts(
            self.gross + other.gross,
            self.fee + other.fee,
            self.refunded + other.refunded,
            self.net + other.net,
        )


def amounts(lines: Iterable[PayoutLine]) -> dict[str, Amounts]:
    """Return the sums of the lines by currency, in the order of the currencies."""
    sums: dict[str, Amounts] = defaultdict(Amounts)
    for line in lines:
        gross = line.gross_minor if line.kind == "PAYMENT" else 0
        refunded = -line.gross_minor if line.kind == "REFUND" else 0
        sums[line.currency] += Amounts(gross, line.fee_minor, refunded, line.net_minor)
    return dict(sorted(sums.items()))


@dataclass(frozen=True, slots=True)
class Row:
    """One result: a closed order with all known lines of it, or lines without a close of ours.

    `subject` is the order, or what the provider names, or the kind of lines that need no order.
    """

    outcome: ReconciliationOutcome
    subject: str
    close: OrderClose | None
    lines: tuple[PayoutLine, ...]
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """The rows of a period, the differences first."""

    period: Period
    rows: tuple[Row, ...]

    @property
    def differs(self) -> bool:
        return any(row.outcome in DIFFERENCES for row in self.rows)

    def count(self, outcome: ReconciliationOutcome) -> int:
        return sum(row.outcome == outcome for row in self.rows)

    def lines(self) -> list[PayoutLine]:
        """Return the lines of the period. A row has earlier and later lines of its order, too."""
        return [line for row in self.rows for line in row.lines if self.period.has(line.at)]


@dataclass(slots=True)
class Ledger:
    """All known closes and payout lines of one provider, each line with its order.

    `closes` has one close an order, `lines` each line once. Their sequence does not matter.
    """

    closes: Mapping[str, OrderClose]
    of_orders: dict[str, list[PayoutLine]] = field(default_factory=lambda: defaultdict(list))
    unknown: dict[str, list[PayoutLine]] = field(default_factory=lambda: defaultdict(list))
    other: dict[str, list[PayoutLine]] = field(default_factory=lambda: defaultdict(list))

    @classmethod
    def of(cls, closes: Iterable[OrderClose], lines: Iterable[PayoutLine]) -> "Ledger":
        ledger = cls({close["order_id"]: close for close in closes})
        unplaced = ledger._place_by_ids(sorted(lines, key=_position))
        for line in ledger._place_by_merchant_ids(unplaced):
            if line.kind in _NO_ORDER:
                ledger.other[line.kind].append(line)
            else:
                ledger.unknown[_stated_subject(line)].append(line)
        for placed in ledger.of_orders.values():
            placed.sort(key=_position)
        return ledger

    def _place_by_ids(self, lines: Iterable[PayoutLine]) -> list[PayoutLine]:
        """Give each line to the order of its payment, else to its order, else to that of its link.
        Return the lines without one.
        """
        payments, links = self._by_payment_and_link()
        unplaced: list[PayoutLine] = []
        for line in lines:
            stated = line.order_id if line.order_id in self.closes else None
            order_id = (
                payments.get(line.payment_id or "") or stated or links.get(line.link_id or "")
            )
            (self.of_orders[order_id] if order_id else unplaced).append(line)
        return unplaced

    def _place_by_merchant_ids(self, lines: Iterable[PayoutLine]) -> list[PayoutLine]:
        """Give each line to the order whose payment has the same `order_id`, such as a refund with
        a payment id of its own. Return the lines without one.
        """
        orders: dict[str, set[str]] = defaultdict(set)
        for order_id, placed in self.of_orders.items():
            for line in placed:
                if line.order_id is not None:
                    orders[line.order_id].add(order_id)
        unplaced: list[PayoutLine] = []
        for line in lines:
            found = orders.get(line.order_id or "", set())
            # An id of several orders identifies none.
            (self.of_orders[min(found)] if len(found) == 1 else unplaced).append(line)
        return unplaced

    def _by_payment_and_link(self) -> tuple[dict[str, str], dict[str, str]]:
        """Return the orders by payment and by link. If two orders have one, the first id counts."""
        payments: dict[str, str] = {}
        links: dict[str, str] = {}
        for order_id in sorted(self.closes):
            for link in self.closes[order_id]["links"]:
                links.setdefault(link["link_id"], order_id)
                if link["payment_id"] is not None:
                    payments.setdefault(link["payment_id"], order_id)
        return payments, links

    def reconcile(self, period: Period, payout_days: int = 0) -> Result:
        """Return the results of a period.

        A closed order is in it if one of its lines is, or if it was due: `payout_days` after its
        close. A line of the period is in exactly one row, and so is an order.
        """
        lag = payout_days * DAY
        rows = []
        for order_id, close in self.closes.items():
            own = self.of_orders.get(order_id, [])
            if period.has(close["decided_at"] + lag) or any(period.has(line.at) for line in own):
                rows.append(_order_row(close, own))
        for subject, lines in self.unknown.items():
            if inside := _inside(lines, period):
                detail = "no close of ours has this payment, order or link"
                rows.append(Row("UNKNOWN_TO_US", subject, None, inside, detail))
        for kind, lines in self.other.items():
            if inside := _inside(lines, period):
                rows.append(Row("OTHER", kind, None, inside))
        rows.sort(key=lambda row: (OUTCOMES.index(row.outcome), row.subject))
        return Result(period, tuple(rows))


def _inside(lines: Iterable[PayoutLine], period: Period) -> tuple[PayoutLine, ...]:
    return tuple(line for line in lines if period.has(line.at))


def _position(line: PayoutLine) -> tuple[object, ...]:
    """Return the sort key: all that distinguishes two lines."""
    amounts_ = (line.gross_minor, line.fee_minor, line.net_minor)
    subject = (line.payment_id or "", line.order_id or "", line.link_id or "", line.reference or "")
    place = (line.at, line.payout_id, line.line_id, line.kind, line.currency)
    return (*place, *amounts_, *subject)


def _stated_subject(line: PayoutLine) -> str:
    """Return what the provider names; equal for all lines about the same payment."""
    return line.payment_id or line.order_id or line.link_id or line.reference or line.line_id


def closed_amounts(close: OrderClose) -> dict[str, int] | None:
    """Return what was closed by currency; None if the close knows not all amounts."""
    if close["total_minor"] is not None and close["currency"] is not None:
        return {close["currency"]: close["total_minor"]}
    closed: dict[str, int] = defaultdict(int)
    for link in close["links"]:
        if link["amount_minor"] is None or link["currency"] is None:
            return None
        closed[link["currency"]] += link["amount_minor"]
    return dict(closed)


def _order_row(close: OrderClose, lines: Sequence[PayoutLine]) -> Row:
    closed = closed_amounts(close)
    sums = amounts(lines)
    has_payments = any(line.kind == "PAYMENT" for line in lines)
    faults: list[str] = []
    outcome: ReconciliationOutcome = "AMOUNT_DIFFERS"
    if not has_payments and (closed is None or any(closed.values())):
        outcome = "MISSING"
        faults.append(f"closed {utc_text(close['decided_at'])}; no known payout has it")
    elif closed is None:
        faults.append("closed without an amount, so that nothing can be compared")
    else:
        faults += _differing(closed, _paid(sums, lines))
        faults += _unpaid(close, lines) if faults else []
        faults += _refunded_too_much(sums)
    faults += _inconsistent(lines)
    return Row(
        outcome if faults else "MATCHED", close["order_id"], close, tuple(lines), _text(faults)
    )


def _paid(sums: Mapping[str, Amounts], lines: Iterable[PayoutLine]) -> dict[str, int]:
    """Return what was paid out by currency: the payments, as corrections change them."""
    paid = {currency: one.gross for currency, one in sums.items()}
    for line in lines:
        if line.kind == "CORRECTION":
            paid[line.currency] += line.gross_minor
    return paid


def _refunded_too_much(sums: Mapping[str, Amounts]) -> list[str]:
    return [
        f"refunded {in_words(one.refunded, currency)}, more than was paid"
        for currency, one in sums.items()
        if one.refunded > max(0, one.gross)
    ]


def _differing(closed: Mapping[str, int], paid: Mapping[str, int]) -> list[str]:
    faults = []
    for currency in sorted(closed.keys() | paid.keys()):
        difference = paid.get(currency, 0) - closed.get(currency, 0)
        if difference:
            more = f"{in_words(abs(difference), currency)} {'more' if difference > 0 else 'less'}"
            faults.append(
                f"paid out {in_words(paid.get(currency, 0), currency)}, {more} than closed"
            )
    return faults


def _unpaid(close: OrderClose, lines: Iterable[PayoutLine]) -> list[str]:
    """Name the payments of the close without a line, if the lines name payments."""
    stated = {line.payment_id for line in lines if line.payment_id is not None}
    expected = {link["payment_id"] for link in close["links"] if link["payment_id"] is not None}
    unpaid = sorted(expected - stated) if stated else []
    return [f"payment {payment_id} is in no known payout" for payment_id in unpaid]


def _inconsistent(lines: Iterable[PayoutLine]) -> list[str]:
    """Name the lines whose amounts contradict each other."""
    faults = []
    for line in lines:
        if line.gross_minor - line.fee_minor != line.net_minor:
            values = (line.gross_minor, line.fee_minor, line.net_minor)
            gross, fee, net = (in_words(value, line.currency) for value in values)
            faults.append(f"line {line.line_id}: {gross} less a fee of {fee} is not {net}")
    return faults


def _text(faults: Sequence[str], most: int = 3) -> str:
    more = f"; and {len(faults) - most} more" if len(faults) > most else ""
    return "; ".join(faults[:most]) + more
