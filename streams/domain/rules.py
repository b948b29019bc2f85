"""The vocabulary of the rules, as tables that a payments person can review."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from schemas.records import ENDED, Coverage, OrderState, OrderStep, Status

# A link's status is the highest verified rank seen. Money evidence beats an ending.
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
# Those that money evidence beats.
ENDINGS: frozenset[Status] = ENDED - {"PAID"}

# UNKNOWN: the provider has completed it, and what it says of the amounts cannot be compared.
COVERAGE_RANK: Mapping[Coverage, int] = {
    "NONE": 0,
    "UNKNOWN": 1,
    "UNDERPAID": 2,
    "PAID": 3,
    "OVERPAID": 4,
}

# What an order has reached once a step is reported; later steps imply earlier ones.
STATE_AFTER: Mapping[OrderStep, OrderState] = {
    "CLOSED": "CLOSED",
    "SPLIT": "SPLIT",
    "SETTLED": "SETTLED",
}


@dataclass(frozen=True, slots=True)
class ProviderRules:
    """What the rules need to know of a provider.

    `order_from`: whom to wait for before a link counts in an order. `settlement`: who settles
    (by_order: we ask for it; by_payment: the provider reports it; elsewhere: neither).
    `ends_for_good`: once it has told a link's end it is not to be asked about the link again.
    """

    order_from: Literal["lookup", "self", "registration"] = "self"
    settlement: Literal["by_order", "by_payment", "elsewhere"] = "elsewhere"
    polls: bool = False
    can_look_up: bool = False
    ends_for_good: bool = False


def utc(micros: int) -> str:
    """A time for people to read, in evidence."""
    try:
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)
    except OverflowError:
        return f"{micros} microseconds"
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
