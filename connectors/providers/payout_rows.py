"""Payout lines from rows: of a CSV file, or of a JSON list whose documents lack details.

Providers document few columns of their exports. Names are compared by their letters and digits
only; the setting PAYOUT_COLUMNS names columns that are not known here. A word that is not known
never means money: the row is refused.
"""

import re
from collections.abc import Collection, Mapping
from datetime import UTC, date, datetime
from typing import Any, TypeVar

from connectors.providers import payload
from connectors.providers.base import PayoutField, Unreadable
from connectors.providers.payout_amounts import PayoutAmounts, complete, minor
from schemas import times
from schemas.ids import LONGEST_ID, is_identifier
from schemas.money import BadAmount, exponent
from schemas.payouts import PayoutKind, PayoutLine

Columns = Mapping[PayoutField, str]
T = TypeVar("T")

# The columns by field, the best ones first.
_NAMES: Mapping[PayoutField, tuple[str, ...]] = {
    "line_id": ("lineid", "transactionid", "settlementid", "id"),
    "kind": ("kind", "transactiontype", "paymenttype", "type"),
    "payment_id": ("paymentid",),
    "order_id": ("orderid", "paymentorderid"),
    "link_id": ("linkid", "paymentlinkid", "invoiceid"),
    "payout_id": ("payoutid", "disbursementid", "settlementreference", "batchnumber"),
    "reference": ("reference", "merchantreference", "merchanttransactionid", "merchantinvoiceid"),
    "at": ("at", "settledat", "disbursedat", "executedat", "settlementdate", "date", "createdat"),
    "currency": ("currency", "currencycode"),
    "gross": ("gross", "grossamount", "amount"),
    "fee": ("fee", "fees", "feeamount", "transactionfee", "commission"),
    "net": ("net", "netamount", "settledamount", "payoutamount"),
    "gross_minor": ("grossminor", "amountinminor", "amountminor"),
    "fee_minor": ("feeminor", "feeinminor"),
    "net_minor": ("netminor", "netinminor"),
    "debit": ("debit",),
    "credit": ("credit",),
    "settled": ("settlementstatus", "status"),
    "result": ("peachresult", "result"),
}
_KINDS: Mapping[str, PayoutKind] = {
    **dict.fromkeys(("payment", "charge", "sale", "capture", "debit", "settlement"), "PAYMENT"),
    **dict.fromkeys(("merchantaccountpayment", "externalpayment", "db", "cp", "rb"), "PAYMENT"),
    **dict.fromkeys(("refund", "reversal", "chargeback", "rf", "rv", "cb", "cd"), "REFUND"),
    **dict.fromkeys(("fee", "fees", "commission"), "FEE"),
    **dict.fromkeys(("payout", "withdrawal", "transfer", "sweep"), "TRANSFER"),
    **dict.fromkeys(("correction", "adjustment", "manualcorrection"), "CORRECTION"),
}
# Money of a chargeback comes back: less was refunded.
_TAKEN_BACK = frozenset({"cr", "chargebackreversal"})
# A pre-authorisation moves no money.
_NO_MONEY = frozenset({"pa", "preauthorisation", "preauthorization"})
_DONE = frozenset(
    {"settled", "paid", "paidout", "completed", "executed", "disbursed", "successful", "success"}
)
_NOT_DONE = frozenset(
    {"pending", "unsettled", "notsettled", "processing", "scheduled", "created", "initiated"}
    | {"failed", "declined", "cancelled", "rejected", "unsuccessful"}
)
_AMOUNTS: tuple[PayoutField, ...] = (
    *("gross", "fee", "net", "gross_minor", "fee_minor", "net_minor", "debit", "credit"),
)
_SUBJECTS: tuple[PayoutField, ...] = ("payment_id", "order_id", "link_id", "line_id", "reference")


# Less than 10^15, as elsewhere: sums of many fit into a record.
_INTEGER = re.compile(r"[+-]?[0-9]{1,15}")


class BadColumns(ValueError):
    """The rows cannot be read: a column is missing. The message names it and what to do."""


def letters(text: str) -> str:
    """Return a name or a word as it is compared: its letters and digits, lower-case."""
    return re.sub(r"[\W_]", "", text).lower()


def columns_of(
    headings: Collection[str],
    known: Mapping[PayoutField, tuple[str, ...]],
    configured: Columns,
) -> Columns:
    """Return the column of each field that the rows have. `known` are the provider's own names,
    `configured` those of the setting. Raises BadColumns.
    """
    by_letters = {letters(heading): heading for heading in reversed([*headings])}
    found: dict[PayoutField, str] = {}
    for field, names in _NAMES.items():
        if (heading := configured.get(field)) is not None:
            if letters(heading) not in by_letters:
                raise BadColumns(f"there is no column {heading!r} (PAYOUT_COLUMNS, {field})")
            names = (letters(heading),)
        for name in (*(known.get(field, ()) if field not in configured else ()), *names):
            if name in by_letters:
                found[field] = by_letters[name]
                break
    return found


def check_columns(columns: Columns, headings: Collection[str]) -> None:
    """Check that a file has what a line needs. Raises BadColumns."""
    needs = {
        "an amount (gross, fee, net, debit or credit)": _AMOUNTS,
        "currency": ("currency",),
        "payment_id, order_id, link_id, line_id or reference": _SUBJECTS,
    }
    for heading in columns.values():
        if sum(letters(other) == letters(heading) for other in headings) > 1:
            raise BadColumns(f"the column {heading!r} is there more than once: rename the others")
    missing = [text for text, fields in needs.items() if not columns.keys() & set(fields)]
    if missing:
        raise BadColumns(
            f"there is no column for {' and for '.join(missing)}; the columns are "
            f"{', '.join(headings)}. Name them with PAYOUT_COLUMNS"
        )


def read_row(
    row: Mapping[str, Any], columns: Columns, place: str, default_at: int | None
) -> PayoutLine | None:
    """Return the line of a row, or None if it moved no money or is not paid out yet.

    `place` is its id if it has none, `default_at` its time (microseconds). Raises Unreadable.
    """
    reader = _Row(row, columns)
    kind_word = reader.text("kind")
    if letters(kind_word) in _NO_MONEY or not (
        reader.is_done("result") and reader.is_done("settled")
    ):
        return None
    currency = reader.currency()
    kind, amounts = reader.kind_and_amounts(kind_word, currency)
    return PayoutLine(
        line_id=reader.identifier("line_id") or place,
        kind=kind,
        at=reader.at(default_at),
        currency=currency,
        gross_minor=amounts.gross,
        fee_minor=amounts.fee,
        net_minor=amounts.net,
        payout_id=reader.identifier("payout_id") or "",
        payment_id=reader.identifier("payment_id"),
        order_id=reader.identifier("order_id"),
        link_id=reader.identifier("link_id"),
        reference=reader.text("reference")[:LONGEST_ID] or None,
    )


class _Row:
    """The values of a row by field. Each method raises Unreadable."""

    def __init__(self, row: Mapping[str, Any], columns: Columns) -> None:
        self._row, self._columns = row, columns

    def _value(self, field: PayoutField) -> Any:
        return self._row.get(self._columns.get(field, ""))

    def text(self, field: PayoutField) -> str:
        value = self._value(field)
        return "" if value is None or isinstance(value, dict | list) else str(value).strip()

    def identifier(self, field: PayoutField) -> str | None:
        text = self.text(field)
        if text and not is_identifier(text):
            raise Unreadable(f"{self._columns[field]}: is not an id")
        return text or None

    def is_done(self, field: PayoutField) -> bool:
        """Return whether a status says so. A row without one is done: exports list payouts."""
        word = letters(self.text(field))
        if word and word not in _DONE | _NOT_DONE:
            raise Unreadable(f"{self._columns[field]}: unknown status {self.text(field)[:50]!r}")
        return not word or word in _DONE

    def currency(self) -> str:
        currency = self.text("currency").upper()
        try:
            exponent(currency)
        except BadAmount as error:
            raise Unreadable(f"{self._columns.get('currency', 'currency')}: {error}") from None
        return currency

    def at(self, default: int | None) -> int:
        text = self.text("at")
        if not text and default is not None:
            return default
        try:
            micros = _micros(text)
        except ValueError:
            column = self._columns.get("at", "at")
            raise Unreadable(
                f"{column}: {text[:50]!r} is not a time such as 2025-11-01 or 2025-11-01T09:30:00Z"
            ) from None
        if not times.is_plausible(micros):
            raise Unreadable(f"{self._columns['at']}: {text[:50]!r} is not in 2000 to 2199")
        return micros

    def kind_and_amounts(self, word: str, currency: str) -> tuple[PayoutKind, PayoutAmounts]:
        gross = self._either("gross", "gross_minor", currency)
        if gross is None:
            gross = self._debit_less_credit(currency)
        fee = self._either("fee", "fee_minor", currency)
        net = self._either("net", "net_minor", currency)
        if letters(word) in _TAKEN_BACK:
            gross, net = (None if value is None else abs(value) for value in (gross, net))
            return "REFUND", self._complete("PAYMENT", gross, fee, net)
        kind = _KINDS.get(letters(word))
        if kind is None:
            if word:
                raise Unreadable(f"{self._columns['kind']}: unknown kind {word[:50]!r}")
            stated = gross if gross is not None else net
            kind = "REFUND" if stated is not None and stated < 0 else "PAYMENT"
        return kind, self._complete(kind, gross, fee, net)

    def _complete(
        self, kind: PayoutKind, gross: int | None, fee: int | None, net: int | None
    ) -> PayoutAmounts:
        amounts = complete(kind, gross, fee, net)
        if amounts is None:
            raise Unreadable("the row has no amount")
        return amounts

    def _either(self, major: PayoutField, in_minor: PayoutField, currency: str) -> int | None:
        if text := self.text(in_minor):
            if not _INTEGER.fullmatch(text):
                raise Unreadable(f"{self._columns[in_minor]}: {text[:50]!r} is no integer")
            return int(text)
        return self._minor(major, currency)

    def _minor(self, field: PayoutField, currency: str) -> int | None:
        value = self._value(field)
        if value is None or value == "" or isinstance(value, dict | list):
            return None
        try:
            return minor(value, currency)
        except BadAmount as error:
            raise Unreadable(f"{self._columns[field]}: {error}") from None

    def _debit_less_credit(self, currency: str) -> int | None:
        """Return what the payer was charged, less what went back to the payer."""
        debit, credit = self._minor("debit", currency), self._minor("credit", currency)
        return None if debit is None and credit is None else (debit or 0) - (credit or 0)


def _micros(text: str) -> int:
    """Return the time of an ISO 8601 text, in UTC unless it names a zone. Raises ValueError."""
    if len(text) <= 10:
        day = date.fromisoformat(text)
        time = datetime(day.year, day.month, day.day, tzinfo=UTC)
    else:
        time = datetime.fromisoformat(text)
    micros = payload.micros(time if time.tzinfo else time.replace(tzinfo=UTC))
    return micros or 0
