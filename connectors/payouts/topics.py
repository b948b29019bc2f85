"""Reads and writes the topics of a reconciliation."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from confluent_kafka import Message

from connectors.kafka import sync_producer, topic_reader
from connectors.kafka.cluster import Cluster
from connectors.payouts.raw import Assembler, Payload, records
from schemas.cloud_events import event_headers
from schemas.codec import BadRecord, Codecs, Schema
from schemas.headers import headers_of
from schemas.payouts import Payout, Reconciliation
from schemas.records import OrderClose, OrderCorrection, OrderStatus, OrderUpdate
from schemas.topics import (
    ORDER_CLOSE,
    ORDER_CORRECTIONS,
    ORDER_UPDATES,
    ORDERS,
    PAYOUTS,
    PAYOUTS_RAW,
    RECONCILIATIONS,
    Topic,
    message_key,
)

_GROUP = "linkstatus-reconcile"
_SECONDS = 60.0


def _messages(cluster: Cluster, topic: str) -> Iterator[Message]:
    return topic_reader.records(cluster, topic, True, True, group=_GROUP)


def stored_payloads(cluster: Cluster, provider: str) -> Iterator[Payload]:
    """Yield the payloads of a provider, the oldest first. Raises NoSuchTopic, KafkaException."""
    assembler = Assembler()
    for message in _messages(cluster, PAYOUTS_RAW.name):
        if message.key() == provider.encode():
            headers = {n: v.decode(errors="replace") for n, v in headers_of(message)}
            payload = assembler.add(headers, message.value() or b"")
            if payload is not None:
                yield payload


class Closes(NamedTuple):
    """The closes of a provider by order. `unreadable` counts records that are no close."""

    by_order: dict[str, OrderClose]
    unreadable: int


def read_closes(cluster: Cluster, codecs: Codecs, provider: str) -> Closes:
    """Return the closes of a provider, with all that is known of their payments by now.

    The table `orders` is kept for ever, and knows payments and amounts that came after the close;
    `order-close` and `order-corrections` have the orders of another producer, too. Raises
    NoSuchTopic, KafkaException, SchemaAway.
    """
    reader = _Reader(cluster, codecs, provider)
    closes: dict[str, OrderClose] = {one["order_id"]: one for one in reader.records(ORDER_CLOSE)}
    corrections: Iterable[OrderCorrection] = reader.records(ORDER_CORRECTIONS)
    for correction in sorted(corrections, key=lambda one: one["number"]):
        close = closes.get(correction["order_id"])
        if close is not None:
            closes[close["order_id"]] = _corrected(close, correction)
    for row in reader.records(ORDERS):
        if row["decided_at"] is not None:
            own = closes.get(row["order_id"])
            event_id = own["event_id"] if own else ""
            closes[row["order_id"]] = _close_of(row, row["decided_at"], event_id)
    return Closes(closes, reader.unreadable)


@dataclass(slots=True)
class _Reader:
    """Reads the records of a provider. `unreadable` counts those that cannot be decoded."""

    cluster: Cluster
    codecs: Codecs
    provider: str
    unreadable: int = 0

    def records(self, topic: Topic[Any]) -> Iterator[Any]:
        """Yield the records of a topic."""
        prefix, schema = message_key(self.provider, ""), cast("Schema[Any]", topic.schema)
        for message in _messages(self.cluster, topic.name):
            value = message.value()
            if value is None or not (message.key() or b"").startswith(prefix):
                continue
            try:
                record = self.codecs.decode(schema, value)
            except BadRecord:
                self.unreadable += 1
            else:
                yield record


def _corrected(close: OrderClose, correction: OrderCorrection) -> OrderClose:
    return {
        **close,
        "links": correction["links"],
        "total_minor": correction["total_minor"],
        "currency": correction["currency"],
    }


def _close_of(row: OrderStatus, decided_at: int, event_id: str) -> OrderClose:
    closed = [link for link in row["links"] if link["link_id"] in row["closed_link_ids"]]
    return {
        "event_id": event_id,
        "provider": row["provider"],
        "order_id": row["order_id"],
        "links": [
            {
                "link_id": link["link_id"],
                "payment_id": link["payment_id"],
                "amount_minor": link["amount_minor"],
                "currency": link["currency"],
                "paid_at": link["paid_at"],
            }
            for link in closed
        ],
        "total_minor": row["total_minor"],
        "currency": row["currency"],
        "decided_at": decided_at,
    }


def publish_payload(cluster: Cluster, payload: Payload) -> None:
    """Publish an answer or a file as it is. Raises NotAcknowledged, KafkaException."""
    sync_producer.publish(cluster, PAYOUTS_RAW.name, records(payload), _SECONDS)


def publish_results(
    cluster: Cluster,
    codecs: Codecs,
    days: Iterable[Reconciliation],
    payouts: Iterable[Payout],
    updates: Iterable[OrderUpdate],
) -> None:
    """Publish the results. To repeat it changes nothing: they have the same keys and event ids.

    Raises NotAcknowledged, KafkaException.
    """
    of_payouts = (_record(codecs, PAYOUTS, payout["payout_id"], payout) for payout in payouts)
    of_days = (_record(codecs, RECONCILIATIONS, day["day"], day) for day in days)
    of_orders = (_record(codecs, ORDER_UPDATES, one["order_id"], one) for one in updates)
    for topic, events in (
        (PAYOUTS, of_payouts),
        (RECONCILIATIONS, of_days),
        (ORDER_UPDATES, of_orders),
    ):
        sync_producer.publish(cluster, topic.name, events, _SECONDS)


def _record(
    codecs: Codecs, topic: Topic[Any], identifier: str, record: Any
) -> sync_producer.Record:
    """Return key, value and headers of a record. An update of an order has no event id."""
    schema: Any = topic.schema
    key = message_key(record["provider"], identifier)
    headers = event_headers(schema, key, record) if "event_id" in record else []
    return key, codecs.encode(schema, record), headers
