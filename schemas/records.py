"""The types of the records of `schemas/*.avsc`: dicts, as fastavro reads and writes them.

Times are integers, microseconds since the epoch, UTC. Money is an integer in minor units of an
ISO 4217 currency. Ids are opaque strings. `tests/schemas` checks these types against the schemas.
"""

from typing import Literal, TypedDict

from schemas.refund_records import LinkRefund, RefundFact, RefundRef

Status = Literal[
    "UNKNOWN", "CREATED", "OPENED", "PROCESSING", "EXPIRED", "CANCELLED", "FAILED", "PAID"
]
# The statuses of an ended link. A link that is paid after another end has status PAID.
ENDED: frozenset[Status] = frozenset({"EXPIRED", "CANCELLED", "FAILED", "PAID"})
# An order is one record with all its links, and a record larger than Kafka's limit would stop the
# whole stage. Only a mistake makes an order so long, such as one order id for all links.
MOST_LINKS = 500
Coverage = Literal["UNKNOWN", "NONE", "UNDERPAID", "PAID", "OVERPAID"]
OrderFrom = Literal["UNKNOWN", "SELF", "REGISTRATION", "LOOKUP", "AWAITED"]
PaymentStatus = Literal["UNKNOWN", "INITIATED", "EXECUTED", "PAID", "SETTLED", "FAILED"]
Source = Literal["UNKNOWN", "callback", "lookup", "poll", "replay", "registration", "import"]
LookupReason = Literal["UNKNOWN", "CLAIM", "DETAILS", "POLL", "REFUND"]
SettlementKind = Literal["UNKNOWN", "REQUESTED", "EXPECTED", "CONFIRMED"]
OrderState = Literal[
    "UNKNOWN", "OPEN", "CLOSE_DECIDED", "CLOSED", "SPLIT", "SETTLED", "FAILED", "EMPTY"
]
OrderStep = Literal["UNKNOWN", "CLOSED", "SPLIT", "SETTLED", "FAILED"]
AnomalyKind = Literal[
    "UNKNOWN",
    "PAID_AFTER_END",
    "CONFLICTING_END",
    "UNDERPAID",
    "OVERPAID",
    "SECOND_PAYMENT",
    "PAYMENT_REVERSED",
    "CLAIM_DENIED",
    "UNKNOWN_STATUS",
    "AMOUNT_MISMATCH",
    "STALE",
    "LATE_LINK",
    "REFUND_FAILED",
    "REFUND_EXCEEDS_PAYMENT",
    "DISPUTED",
    "AMOUNT_UNKNOWN",
]


class LinkRegistered(TypedDict):
    provider: str
    link_id: str
    order_id: str | None
    amount_minor: int | None
    currency: str | None
    expires_at: int | None
    links_in_order: int | None
    registered_at: int


class Registration(TypedDict):
    order_id: str | None
    amount_minor: int | None
    currency: str | None
    expires_at: int | None
    links_in_order: int | None
    registered_at: int


class LinkEvent(TypedDict):
    event_id: str
    provider: str
    link_id: str
    status: Status
    provider_status: str
    occurred_at: int | None
    received_at: int
    source: Source
    verified: bool
    payment_id: str | None
    payment_status: PaymentStatus | None
    order_id: str | None
    amount_minor: int | None
    currency: str | None
    received_minor: int | None
    coverage: Coverage | None
    denies: Status | None
    closed_elsewhere: bool
    reason: str | None
    registration: Registration | None
    refund: RefundFact | None
    attributes: dict[str, str]
    origin: str


class Payment(TypedDict):
    payment_id: str
    seen: list[PaymentStatus]
    failed_at: int | None


class LinkStatus(TypedDict):
    status: Status
    provider: str
    link_id: str
    claimed_status: Status | None
    reason: str | None
    verified: bool
    order_id: str
    order_from: OrderFrom
    payment_id: str | None
    payment_ids: list[str]
    payments: list[Payment]
    amount_minor: int | None
    received_minor: int | None
    currency: str | None
    coverage: Coverage
    refunds: list[LinkRefund]
    refunded_minor: int | None
    disputed_minor: int | None
    net_minor: int | None
    anomalies: list[AnomalyKind]
    first_seen_at: int
    changed_at: int
    times: dict[Status, int]
    claims: dict[Status, int]
    looked_up_at: int | None
    registration: Registration | None
    provider_order_id: str | None
    closed_elsewhere: bool
    judged: dict[Status, bool]
    claimed_at: int | None
    held: list[LinkEvent]
    version: int


class LookupRequest(TypedDict):
    request_id: str
    provider: str
    link_id: str
    reason: LookupReason
    claimed_status: Status | None
    payment_id: str | None
    refund: RefundRef | None
    issued: bool
    requested_at: int


class PaymentEvent(TypedDict):
    provider: str
    payment_id: str
    link_id: str | None
    event: LinkEvent | None


class PaymentLink(TypedDict):
    provider: str
    payment_id: str
    link_id: str | None
    waiting: list[LinkEvent]


class OrderLink(TypedDict):
    link_id: str
    status: Status
    payment_id: str | None
    amount_minor: int | None
    currency: str | None
    paid_at: int | None
    settled: bool
    awaits_details: bool
    links_in_order: int | None
    closed_elsewhere: bool


class OrderStepReached(TypedDict):
    step: OrderStep
    reason: str | None


class OrderEvent(TypedDict):
    provider: str
    order_id: str
    link: OrderLink | None
    left_link_id: str | None
    left_for: str | None
    update: OrderStepReached | None
    at: int


class OrderStatus(TypedDict):
    state: OrderState
    provider: str
    order_id: str
    links: list[OrderLink]
    moved_links: dict[str, str]
    links_in_order: int | None
    closed_link_ids: list[str]
    details_awaited_since: int | None
    decided_at: int | None
    total_minor: int | None
    currency: str | None
    correction_number: int
    settlements: dict[SettlementKind, int]
    steps: dict[OrderStep, int]
    failure: str | None
    changed_at: int
    version: int


def was_closed_elsewhere(order: OrderStatus) -> bool:
    """Whether a link was imported with the word that the order was closed before."""
    return any(link["closed_elsewhere"] for link in order["links"])


class ClosedLink(TypedDict):
    link_id: str
    payment_id: str | None
    amount_minor: int | None
    currency: str | None
    paid_at: int | None


class OrderClose(TypedDict):
    event_id: str
    provider: str
    order_id: str
    links: list[ClosedLink]
    total_minor: int | None
    currency: str | None
    decided_at: int


class OrderCorrection(TypedDict):
    event_id: str
    provider: str
    order_id: str
    corrects: list[str]
    number: int
    links: list[ClosedLink]
    total_minor: int | None
    currency: str | None
    decided_at: int


class Settlement(TypedDict):
    event_id: str
    provider: str
    order_id: str
    kind: SettlementKind
    payment_ids: list[str]
    amount_minor: int | None
    currency: str | None
    decided_at: int


class OrderUpdate(TypedDict):
    provider: str
    order_id: str
    step: OrderStep
    reason: str | None
    at: int


class Anomaly(TypedDict):
    event_id: str
    provider: str
    link_id: str
    kind: AnomalyKind
    detail: str
    at: int


class Notice(TypedDict):
    event_id: str
    provider: str
    kind: str
    subject_id: str | None
    status: str
    verified: bool
    attributes: dict[str, str]
    received_at: int
    origin: str


# In place of the name of a connection, where a request names none.
NO_PROVIDER = "unknown"


class RefusedCallbacks(TypedDict):
    event_id: str
    edge: str
    provider: str
    answer: int
    reason: str
    hour: int
    number: int
    last_at: int
    detail: str


class ImportWindow(TypedDict):
    provider: str
    window: str
    after: str | None
    links: int
    unanswered: int
    complete: bool
    closed_elsewhere: bool
    at: int


class Replay(TypedDict):
    event_id: str
    dead_letter: str
    target: str
    reason: str
    by: str
    at: int
