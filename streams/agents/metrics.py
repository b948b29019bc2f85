"""The agents' metrics. They count only what has committed, see `Batch.on_commit`."""

from functools import partial

from prometheus_client import Counter, Histogram

from connectors.clock import micros_now
from schemas.records import Anomaly, LinkStatus, Notice, OrderClose, OrderStatus
from schemas.refund_records import Refund
from streams.engine.batch import Batch

_ANOMALIES = Counter(
    "linkstatus_anomalies_total", "Anomalies raised by the worker.", ["provider", "kind"]
)
_UNKNOWN_EVENTS = Counter(
    "linkstatus_unknown_events_total",
    "Proven callbacks of a type that no rule knows, and that name no link.",
    ["provider"],
)
_REPAIRS = Counter(
    "linkstatus_repairs_total",
    "Links whose end was learned by polling, and by no callback.",
    ["provider"],
)
_FORGOTTEN = Counter(
    "linkstatus_links_forgotten_total",
    "Links that nothing vouched for, and that left the table.",
)
_REFUNDS = Counter(
    "linkstatus_refunds_total",
    "Refunds, reversals and disputes of paid links that came into a state.",
    ["provider", "kind", "state"],
)
_ORDERS = Counter(
    "linkstatus_orders_total", "Orders that came into a state.", ["provider", "state"]
)
_CLOSE_SECONDS = Histogram(
    "linkstatus_close_seconds",
    "From the callback that closes an order to its order-close committed.",
    ["provider"],
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600, 86_400),
)


def count_anomaly(batch: Batch, anomaly: Anomaly) -> None:
    batch.on_commit(_ANOMALIES.labels(anomaly["provider"], anomaly["kind"]).inc)


def count_unknown_event(batch: Batch, notice: Notice) -> None:
    batch.on_commit(_UNKNOWN_EVENTS.labels(notice["provider"]).inc)


def count_repair(batch: Batch, row: LinkStatus) -> None:
    batch.on_commit(_REPAIRS.labels(row["provider"]).inc)


def count_forgotten(batch: Batch) -> None:
    batch.on_commit(_FORGOTTEN.inc)


def count_refund(batch: Batch, refund: Refund) -> None:
    batch.on_commit(_REFUNDS.labels(refund["provider"], refund["kind"], refund["state"]).inc)


def count_order(batch: Batch, before: OrderStatus | None, after: OrderStatus) -> None:
    """Count the order in its new state, if the state has changed."""
    if before is None or before["state"] != after["state"]:
        batch.on_commit(_ORDERS.labels(after["provider"], after["state"]).inc)


def time_close(batch: Batch, close: OrderClose) -> None:
    """Measure the time since the order's last callback was received: that is `decided_at`."""
    batch.on_commit(partial(_observe, close["provider"], close["decided_at"]))


def _observe(provider: str, decided_at: int) -> None:
    _CLOSE_SECONDS.labels(provider).observe(max(0, micros_now() - decided_at) / 1_000_000)
