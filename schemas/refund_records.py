"""The types of the records about money that goes back after the payment; see `records`."""

from typing import Literal, TypedDict

RefundKind = Literal[
    "UNKNOWN", "REFUND", "PAYOUT", "REVERSAL", "DISPUTE", "CHARGEBACK", "CHARGEBACK_REVERSAL"
]
RefundState = Literal["UNKNOWN", "PENDING", "EXECUTED", "FAILED", "RETURNED"]


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
