"""The vocabulary of the rules, as tables that a payments person can review."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from schemas.records import (
    ENDED,
    Coverage,
    OrderState,
    OrderStep,
    PaymentStatus,
    SettlementKind,
    Status,
)

# A link's status is the highest verified rank seen. Evidence of money beats an ending.
RANK: Mapping[Status, int] = {
    "UNKNOWN": 0,
    "CREATED": 1,
    "OPENED": 2,
    "PROCESSING": 3,
    "EXPIRED": 4,
    "CANCELLED": 5,
    "FAILED": 6,
    "PAID": 7,
}
UNPAID_ENDINGS: frozenset[Status] = ENDED - {"PAID"}

# Statuses of a payment whose money counts, and of one that its bank has accepted.
MONEY_SEEN: frozenset[PaymentStatus] = frozenset({"PAID", "SETTLED"})
ACCEPTED_SEEN: frozenset[PaymentStatus] = MONEY_SEEN | {"EXECUTED"}

# UNKNOWN: the provider has completed the link, but its amounts cannot be compared.
COVERAGE_RANK: Mapping[Coverage, int] = {
    "NONE": 0,
    "UNKNOWN": 1,
    "UNDERPAID": 2,
    "PAID": 3,
    "OVERPAID": 4,
}

# The order's state after each reported step, in sequence: a later step implies the earlier ones.
STATE_AFTER: Mapping[OrderStep, OrderState] = {
    "CLOSED": "CLOSED",
    "SPLIT": "SPLIT",
    "SETTLED": "SETTLED",
}
# The kind of settlement after each step, where the provider settles by order.
SETTLEMENT_AFTER: Mapping[OrderStep, SettlementKind] = {
    "CLOSED": "REQUESTED",
    "SETTLED": "CONFIRMED",
}


@dataclass(frozen=True, slots=True)
class ProviderRules:
    """How the rules treat the links of one provider.

    `order_from`: what names a link's order; the link counts in no order before.
    `settlement`: `by_order` (we request it), `by_payment` (the provider reports it) or `elsewhere`.
    `polling`: links without news are looked up again.
    `final_after_end`: the provider forbids further lookups of a link that has ended.
    `signs_for_all`: the provider signs the callbacks of all its customers with one key, and no
    token in the callback URL proves ours. A signed event of an unknown link is held until a lookup
    or a registration shows that the link is ours.
    `answers_refunds`: the provider's callbacks name a refund without its amount, and its API tells
    it.
    """

    order_from: Literal["lookup", "self", "registration"] = "self"
    settlement: Literal["by_order", "by_payment", "elsewhere"] = "elsewhere"
    polling: bool = False
    can_look_up: bool = False
    final_after_end: bool = False
    signs_for_all: bool = False
    answers_refunds: bool = False


def utc_text(micros: int) -> str:
    """Return the time in RFC 3339, for evidence that people read."""
    try:
        time = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)
    except OverflowError:
        return f"{micros} microseconds"
    return time.isoformat(timespec="seconds").replace("+00:00", "Z")
