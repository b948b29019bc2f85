"""The types of the records about money that goes back after the payment; see `records`."""

from typing import Literal, TypedDict

RefundKind = Literal[
    "UNKNOWN", "REFUND", "PAYOUT", "REVERSAL", "DISPUTE", "CHARGEBACK", "CHARGEBACK_REVERSAL"
]
RefundState = Literal["UNKNOWN", "PENDING", "EXECUTED", "FAILED", "RETURNED"]
# The payer or the bank decides these: without an amount of its own, one is the whole payment.
TAKEN: frozenset[RefundKind] = frozenset(
    {"REVERSAL", "DISPUTE", "CHARGEBACK", "CHARGEBACK_REVERSAL"}
)


class RefundFact(TypedDict):
    refund_id: str
    kind: RefundKind
    state: RefundState
    payment_id: str | None
    amount_minor: int | None
    currency: str | None


class LinkRefund(TypedDict):
    refund_id: str
    kind: RefundKind
    state: RefundState
    payment_id: str | None
    amount_minor: int | None
    currency: str | None
    reason: str | None
    times: dict[RefundState, int]


def amount_of(refund: LinkRefund, paid_minor: int | None) -> int | None:
    """Return the refund's own amount, or that of the payment where it is taken as a whole."""
    if refund["amount_minor"] is None and refund["kind"] in TAKEN:
        return paid_minor
    return refund["amount_minor"]


class RefundRef(TypedDict):
    refund_id: str
    kind: RefundKind
    payment_id: str | None


class Refund(TypedDict):
    event_id: str
    provider: str
    link_id: str
    order_id: str | None
    refund_id: str
    kind: RefundKind
    state: RefundState
    payment_id: str | None
    amount_minor: int | None
    currency: str | None
    reason: str | None
    occurred_at: int
    refunded_minor: int | None
    disputed_minor: int | None
    net_minor: int | None
    at: int
