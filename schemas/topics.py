"""The topics: the schema, the key and the retention of each.

All keyed topics have the same number of partitions, so a key has the same partition number in each.
Names have no prefix here; `Cluster.topic` adds the prefix of an installation.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from schemas import codec

DAY_MS = 86_400_000
# Longer than any provider repeats a callback (Peach: 30 days).
CALLBACK_RETENTION_MS = 35 * DAY_MS
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Topic(Generic[T]):
    """One topic, with records of type T. `schema` is None if its values are bytes as received;
    `keep_ms` is None if it is compacted. A topic that is not public serves only our processes.
    """

    name: str
    key: Literal[
        "link",
        "payment",
        "order",
        "payout",
        "day",
        "window",
        "provider",
        "schema",
        "dead letter",
        "as received",
    ]
    schema: codec.Schema[T] | None
    keep_ms: int | None = CALLBACK_RETENTION_MS
    public: bool = True


LINKS = Topic("links", "link", codec.LINK_REGISTERED, keep_ms=None)
LINK_EVENTS = Topic("link-events", "link", codec.LINK_EVENT)
LINK_STATUS = Topic("link-status", "link", codec.LINK_STATUS, keep_ms=None)
LOOKUPS = Topic("lookups", "link", codec.LOOKUP_REQUEST, keep_ms=7 * DAY_MS)
ORDER_CLOSE = Topic("order-close", "order", codec.ORDER_CLOSE)
ORDER_CORRECTIONS = Topic("order-corrections", "order", codec.ORDER_CORRECTION)
SETTLEMENT = Topic("settlement", "order", codec.SETTLEMENT)
REFUNDS = Topic("refunds", "link", codec.REFUND)
ORDER_UPDATES = Topic("order-updates", "order", codec.ORDER_UPDATE)
ANOMALIES = Topic("anomalies", "link", codec.ANOMALY)
DEAD_LETTERS: Topic[bytes] = Topic("dead-letters", "as received", None)
NOTICES = Topic("notices", "as received", codec.NOTICE)
# What the edge did not take, counted by the hour.
REFUSED_CALLBACKS = Topic("refused-callbacks", "provider", codec.REFUSED_CALLBACKS)
# The schema of each schema id, as JSON; the key is the id in digits.
SCHEMAS: Topic[bytes] = Topic("schemas", "schema", None, keep_ms=None)
REPLAYS = Topic("replays", "dead letter", codec.REPLAY)
# What providers paid out: their answers and files, as received.
PAYOUTS_RAW: Topic[bytes] = Topic("payouts-raw", "provider", None)
PAYOUTS = Topic("payouts", "payout", codec.PAYOUT)
RECONCILIATIONS = Topic("reconciliations", "day", codec.RECONCILIATION, keep_ms=None)
# Replayed dead letters of `notify`: no other reader of the event's own topic gets it again.
NOTIFY_REPLAYS: Topic[bytes] = Topic("notify-replays", "as received", None, public=False)
IMPORTS = Topic("imports", "window", codec.IMPORT_WINDOW, keep_ms=None)
# Between the steps of `work`, for values whose key belongs to another partition.
LINK_FACTS = Topic("link-facts", "link", codec.LINK_EVENT, public=False)
PAYMENT_EVENTS = Topic("payment-events", "payment", codec.PAYMENT_EVENT, public=False)
PAYMENTS = Topic("payments", "payment", codec.PAYMENT_LINK, keep_ms=None, public=False)
ORDER_EVENTS = Topic("order-events", "order", codec.ORDER_EVENT, public=False)
ORDERS = Topic("orders", "order", codec.ORDER_STATUS, keep_ms=None)

SHARED: tuple[Topic[Any], ...] = tuple(
    constant for constant in list(vars().values()) if isinstance(constant, Topic)
)


def callbacks(provider: str) -> Topic[bytes]:
    """Return the raw topic of a provider: body bytes as received."""
    return Topic(f"callbacks.{provider}", "as received", None)


def all_topics(providers: Iterable[str]) -> tuple[Topic[Any], ...]:
    """Return every topic of an installation with these providers."""
    return (*(callbacks(provider) for provider in providers), *SHARED)


def message_key(provider: str, identifier: str) -> bytes:
    """Return the key of records about a link, an order or anything else of `provider`."""
    return f"{provider}:{identifier}".encode()
