"""Reads and writes the topics of a reconciliation."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from confluent_kafka import Message

from connectors.kafka import sync_producer, topic_reader
from connectors.kafka.cluster import Cluster
from connectors.payouts.raw import Assembler, Payload, records
from schemas import codec
from schemas.codec import BadRecord, Codecs
from schemas.headers import headers_of, with_event_id
from schemas.payouts import Payout, Reconciliation
from schemas.records import OrderClose, OrderStatus, OrderUpdate
from schemas.topics import (
    ORDER_CLOSE,
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
    `order-close` has the orders of another producer, too. Raises NoSuchTopic, KafkaException,
    SchemaAway.
    """
    found: dict[str, OrderClose] = {}
    unreadable = 0
    for topic in (ORDER_CLOSE, ORDERS):
        for value in _values(cluster, topic.name, provider):
            try:
                close = _close(codecs, topic, value, found)
            except BadRecord:
                unreadable += 1
            else:
                found |= {close["order_id"]: close} if close else {}
    return Closes(found, unreadable)


def _close(
    codecs: Codecs, topic: Topic[Any], value: bytes, known: Mapping[str, OrderClose]
) -> OrderClose | None:
    if topic is ORDER_CLOSE:
        return codecs.decode(codec.ORDER_CLOSE, value)
    row = codecs.decode(codec.ORDER_STATUS, value)
    if row["decided_at"] is None:
        return None
    own = known.get(row["order_id"])
    return _close_of(row, row["decided_at"], own["event_id"] if own else "")


def _values(cluster: Cluster, topic: str, provider: str) -> Iterator[bytes]:
    prefix = message_key(provider, "")
    for message in _messages(cluster, topic):
        value = message.value()
        if value is not None and (message.key() or b"").startswith(prefix):
            yield value


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
    of_payouts = (
        _event(codecs, PAYOUTS, payout["payout_id"], payout, payout["event_id"])
        for payout in payouts
    )
    of_days = (_event(codecs, RECONCILIATIONS, day["day"], day, day["event_id"]) for day in days)
    of_orders = (_event(codecs, ORDER_UPDATES, one["order_id"], one, None) for one in updates)
    for topic, events in (
        (PAYOUTS, of_payouts),
        (RECONCILIATIONS, of_days),
        (ORDER_UPDATES, of_orders),
    ):
        sync_producer.publish(cluster, topic.name, events, _SECONDS)


def _event(
    codecs: Codecs, topic: Topic[Any], identifier: str, record: Any, event_id: str | None
) -> sync_producer.Record:
    """Return key, value and headers of a record. An update of an order has no event id."""
    schema: Any = topic.schema
    headers = with_event_id(event_id, None) if event_id is not None else []
    key = message_key(record["provider"], identifier)
    return key, codecs.encode(schema, record), headers
