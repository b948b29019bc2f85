"""What all agents share: how they read records and send others."""

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from confluent_kafka import Message

from connectors import tracing
from connectors.providers import raw
from connectors.providers.base import Unreadable
from connectors.reasons import reason_of
from connectors.triage import fitting
from connectors.triage.metrics import DEAD_LETTERED
from schemas.cloud_events import event_headers
from schemas.codec import Codecs
from schemas.headers import Headers, headers_of
from schemas.ids import is_identifier
from schemas.records import Anomaly, LinkEvent, OrderEvent, PaymentEvent
from schemas.topics import (
    ANOMALIES,
    DEAD_LETTERS,
    LINK_FACTS,
    ORDER_EVENTS,
    PAYMENT_EVENTS,
    Topic,
    message_key,
)
from streams.agents.metrics import count_anomaly
from streams.domain.rules import ProviderRules
from streams.engine.batch import Batch, Fact

T = TypeVar("T")


class Agent:
    """Handles one step of each batch. Its `name` is the step's."""

    name: str

    def __init__(self, codecs: Codecs) -> None:
        self._codecs = codecs

    def handle(self, batch: Batch) -> None:
        """Handle every fact of the step, then what is due at the batch's tick."""
        batch.each(self.name, self.on_fact)
        if batch.tick is not None:
            self.on_tick(batch, batch.tick)

    def on_fact(self, batch: Batch, fact: Fact) -> None:
        raise NotImplementedError

    def on_tick(self, batch: Batch, now: int) -> None:
        """Do what is due at `now` (microseconds), without a record."""

    def value(self, topic: Topic[T], fact: Fact) -> T:
        """Return the value of a fact: as handed on, or decoded from the record of `topic`. Raises
        BadRecord, SchemaAway.
        """
        if fact.value is not None:
            return cast("T", fact.value)
        schema: Any = topic.schema
        return cast("T", self._codecs.decode(schema, fact.message.value()))

    def send(
        self, batch: Batch, topic: Topic[Any], key: bytes, record: Any, trace: Headers | None
    ) -> None:
        """Send a record, an event with the headers of one."""
        schema: Any = topic.schema
        headers = trace
        if "event_id" in record:
            headers = event_headers(schema, key, record)
            headers += trace or ()
        batch.send(topic.name, key, self._codecs.encode(schema, record), headers)

    def hand_on_link_event(
        self, batch: Batch, fact: Fact, event: LinkEvent, trace: Headers | None
    ) -> None:
        """Hand an event to the step that keeps its link's row."""
        key = message_key(event["provider"], event["link_id"])
        self._hand_on(batch, fact, "track", LINK_FACTS, key, event, trace)

    def hand_on_payment(
        self, batch: Batch, fact: Fact, payment: PaymentEvent, trace: Headers | None
    ) -> None:
        """Hand a payment to the step that finds its link."""
        key = message_key(payment["provider"], payment["payment_id"])
        self._hand_on(batch, fact, "join", PAYMENT_EVENTS, key, payment, trace)

    def hand_on_order_event(
        self, batch: Batch, fact: Fact, event: OrderEvent, trace: Headers | None
    ) -> None:
        """Hand an event to the step that keeps its order's row."""
        key = message_key(event["provider"], event["order_id"])
        self._hand_on(batch, fact, "orders", ORDER_EVENTS, key, event, trace)

    def _hand_on(
        self,
        batch: Batch,
        fact: Fact,
        step: str,
        topic: Topic[Any],
        key: bytes,
        value: Any,
        trace: Headers | None,
    ) -> None:
        """Hand a value on in memory if its key is of the fact's partition, else through a topic."""
        if not batch.hand_on(fact, step, key, value, trace):
            schema: Any = topic.schema
            batch.send(topic.name, key, self._codecs.encode(schema, value), trace)

    def send_anomaly(self, batch: Batch, anomaly: Anomaly, trace: Headers | None) -> None:
        """Send an anomaly, and count it."""
        count_anomaly(batch, anomaly)
        key = message_key(anomaly["provider"], anomaly["link_id"])
        self.send(batch, ANOMALIES, key, anomaly, trace)


def dead_letter(batch: Batch, message: Message, step: str, error: Exception) -> None:
    """Send the record to `dead-letters`, with step, reason and origin, and the item that the error
    is about.
    """
    batch.on_commit(DEAD_LETTERED.labels(step, type(error).__name__).inc)
    key, value, headers = message.key(), message.value(), headers_of(message)
    if isinstance(error, Unreadable) and error.item is not None:
        others = (header for header in headers if header[0] != raw.ITEM)
        headers = [(raw.ITEM, error.item.encode()), *others]
    origin = batch.origin(message)
    letter = fitting.dead_letter(key, value, headers, step, reason_of(error), origin)
    batch.send(DEAD_LETTERS.name, *letter)


def text_headers(headers: Headers) -> dict[str, str]:
    """Return a record's headers as latin-1 text, like HTTP's: of a repeated name the last."""
    return {name: value.decode("latin-1") for name, value in headers}


def trace_of(fact: Fact) -> Headers | None:
    """Return the headers of the consumed record for the records that follow from it."""
    return fact.trace if fact.value is not None else trace_in(headers_of(fact.message))


def trace_in(headers: Headers) -> Headers | None:
    """Return what is for the records that follow from a record with these headers: the W3C trace
    context, and the sender of an unsigned callback.
    """
    sender = raw.sender(headers)
    own: Headers = [(raw.SENDER, sender.encode("latin-1"))] if sender else []
    return tracing.trace_headers(headers) + own or None


def rules_of(provider: str, rules: Mapping[str, ProviderRules]) -> ProviderRules:
    """Return the provider's rules. Raises ValueError for an unknown provider."""
    if provider not in rules:
        raise ValueError(f"unknown provider {provider!r}")
    return rules[provider]


def check_identifier(identifier: str) -> None:
    """Raises ValueError if the text cannot be an id."""
    if not is_identifier(identifier):
        raise ValueError(f"{identifier[:200]!r} is no id")


def checked_key(fact: Fact, provider: str, identifier: str) -> bytes:
    """Return the key of a fact about `identifier`.

    Raises:
        ValueError: the record's key is another one, so the record may be in a wrong partition;
            or `identifier` is no id.
    """
    check_identifier(identifier)
    if fact.key is None:
        raise ValueError("a record of this topic needs a key")
    if fact.value is None and fact.key != (expected := message_key(provider, identifier)):
        texts = (key.decode(errors="backslashreplace")[:200] for key in (fact.key, expected))
        raise ValueError("key {!r} where {!r} was expected".format(*texts))
    return fact.key
