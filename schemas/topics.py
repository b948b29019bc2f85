"""The topics: what each carries, how it is keyed and how long it is kept.

Keyed topics share one number of partitions, so that a key has the same partition number in each of
them. Names here come without the prefix of an installation; `Cluster.topic` adds it.
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
    """One topic, with records of type T. `codec` is None where values are bytes as received;
    `keep_ms` is None where it is compacted.
    """

    name: str
    key: Literal["link", "payment", "order", "schema", "dead letter", "as received"]
    codec: codec.Codec[T] | None
    keep_ms: int | None = CALLBACK_RETENTION_MS
    public: bool = True


LINKS = Topic("links", "link", codec.LINK_REGISTERED, keep_ms=None)
LINK_EVENTS = Topic("link-events", "link", codec.LINK_EVENT)
LINK_STATUS = Topic("link-status", "link", codec.LINK_STATUS, keep_ms=None)
LOOKUPS = Topic("lookups", "link", codec.LOOKUP_REQUEST, keep_ms=7 * DAY_MS)
ORDER_CLOSE = Topic("order-close", "order", codec.ORDER_CLOSE)
SETTLEMENT = Topic("settlement", "order", codec.SETTLEMENT)
ORDER_UPDATES = Topic("order-updates", "order", codec.ORDER_UPDATE)
ANOMALIES = Topic("anomalies", "link", codec.ANOMALY)
DEAD_LETTERS: Topic[bytes] = Topic("dead-letters", "as received", None)
NOTICES = Topic("notices", "as received", codec.NOTICE)
# Which schema an id in a record stands for: the schema as JSON, keyed by the id in digits.
SCHEMAS: Topic[bytes] = Topic("schemas", "schema", None, keep_ms=None)
REPLAYS = Topic("replays", "dead letter", codec.REPLAY)
# Between the stages of `work`.
PAYMENT_EVENTS = Topic("payment-events", "payment", codec.PAYMENT_EVENT, public=False)
PAYMENTS = Topic("payments", "payment", codec.PAYMENT_LINK, keep_ms=None, public=False)
ORDER_EVENTS = Topic("order-events", "order", codec.ORDER_EVENT, public=False)
ORDERS = Topic("orders", "order", codec.ORDER_STATUS, keep_ms=None)

SHARED: tuple[Topic[Any], ...] = (
    LINKS,
    LINK_EVENTS,
    LINK_STATUS,
    LOOKUPS,
    ORDER_CLOSE,
    SETTLEMENT,
    ORDER_UPDATES,
    ANOMALIES,
    DEAD_LETTERS,
    NOTICES,
    SCHEMAS,
    REPLAYS,
    PAYMENT_EVENTS,
    PAYMENTS,
    ORDER_EVENTS,
    ORDERS,
)


def callbacks(provider: str) -> Topic[bytes]:
    """The raw topic of a provider: body bytes as received."""
    return Topic(f"callbacks.{provider}", "as received", None)


def all_topics(providers: Iterable[str]) -> tuple[Topic[Any], ...]:
    """Every topic of an installation with these providers."""
    return (*(callbacks(provider) for provider in providers), *SHARED)


def message_key(provider: str, identifier: str) -> bytes:
    """The key of a record about a link, payment or order of `provider`."""
    return f"{provider}:{identifier}".encode()
