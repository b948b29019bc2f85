"""What providers paid out: a line as an API or a file states it, and the types of the records (see
`schemas.records`).
"""

from dataclasses import dataclass
from typing import Literal, TypedDict

PayoutKind = Literal["UNKNOWN", "PAYMENT", "REFUND", "FEE", "TRANSFER", "CORRECTION"]
ReconciliationOutcome = Literal[
    "UNKNOWN", "MATCHED", "MISSING", "AMOUNT_DIFFERS", "UNKNOWN_TO_US", "OTHER"
]


@dataclass(frozen=True, slots=True)
class PayoutLine:
    """A line of a payout.

    Amounts are signed, in minor units of `currency`, as the merchant sees them: a payment is
    positive, a refund negative, or positive where money of a chargeback comes back. `at` is when
    the provider lists the line, in microseconds, UTC.
    `payout_id` is "" if the provider names no payout. The ids are None where the provider does not
    state them. `reference` is for people.
    """

    line_id: str
    kind: PayoutKind
    at: int
    currency: str
    gross_minor: int
    fee_minor: int
    net_minor: int
    payout_id: str = ""
    payment_id: str | None = None
    order_id: str | None = None
    link_id: str | None = None
    reference: str | None = None


class PayoutItem(TypedDict):
    line_id: str
    kind: PayoutKind
    payment_id: str | None
    link_id: str | None
    reference: str | None
    currency: str
    gross_minor: int
    fee_minor: int
    net_minor: int
    at: int
    outcome: ReconciliationOutcome
    order_id: str | None


class Payout(TypedDict):
    event_id: str
    provider: str
    payout_id: str
    day: str
    part: int
    parts: int
    items: list[PayoutItem]


class ReconciliationSums(TypedDict):
    currency: str
    closed_minor: int
    gross_minor: int
    fee_minor: int
    refunded_minor: int
    net_minor: int


class ReconciliationRow(TypedDict):
    outcome: ReconciliationOutcome
    subject: str
    order_id: str | None
    currency: str | None
    closed_minor: int | None
    gross_minor: int
    fee_minor: int
    refunded_minor: int
    net_minor: int
    payout_ids: list[str]
    detail: str


class PayoutSum(TypedDict):
    payout_id: str
    currency: str
    lines: int
    net_minor: int


class Reconciliation(TypedDict):
    event_id: str
    provider: str
    day: str
    matched: int
    missing: int
    amount_differs: int
    unknown_to_us: int
    other: int
    sums: list[ReconciliationSums]
    differences: list[ReconciliationRow]
    payouts: list[PayoutSum]
