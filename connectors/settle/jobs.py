"""Settle jobs: what to do with an order, and the limits on it."""

from dataclasses import dataclass, field

from connectors.kafka.task import Job
from connectors.providers.order_api import OrderAction
from schemas import times
from schemas.codec import BadRecord
from schemas.headers import Headers
from schemas.ids import is_identifier
from schemas.records import OrderClose, Settlement


@dataclass(frozen=True, slots=True)
class SettleLimits:
    """How many calls we make to a provider, and how long we wait for it. Times in seconds."""

    # Whether one SETTLE call also performs the SPLIT.
    fast_forward: bool = False
    per_second: float = 20.0
    timeout: float = 10.0
    # How long an order may stay unready (Ping: not all its payments have ended) before we give it
    # up.
    give_up_after: float = 7 * 86_400.0
    # Pending orders delay no call; they only take memory.
    max_pending: int = 20_000
    wait_pauses: tuple[float, float] = (5.0, 900.0)
    retry_pauses: tuple[float, float] = (1.0, 300.0)
    breaker_pauses: tuple[float, float] = (1.0, 60.0)


@dataclass(frozen=True, slots=True)
class Order:
    """The actions to perform on an order, and since when (microseconds)."""

    provider: str
    order_id: str
    actions: tuple[OrderAction, ...]
    since: int

    @property
    def dedup_key(self) -> tuple[str, tuple[OrderAction, ...]]:
        return self.order_id, self.actions


@dataclass(slots=True, eq=False)
class SettleJob(Job):
    """The actions of one order that are still to be performed."""

    order: Order = field(kw_only=True)
    trace: Headers = field(kw_only=True)
    actions: list[OrderAction] = field(kw_only=True)
    waits: int = 0


def order_of(record: OrderClose | Settlement, actions: tuple[OrderAction, ...]) -> Order:
    """Return the order of a record, with these actions. Raises BadRecord."""
    order_id, since = record["order_id"], record["decided_at"]
    if not is_identifier(order_id):
        raise BadRecord("its order_id is no id")
    try:
        times.check(since)
    except times.BadTime as error:
        raise BadRecord(f"decided_at: {error}") from error
    return Order(record["provider"], order_id, actions, since)
