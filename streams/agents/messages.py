"""What agents read from and write to Kafka messages."""

from confluent_kafka import Message

from connectors import tracing
from schemas import codec, topics
from schemas.records import Anomaly, LinkEvent
from schemas.topics import message_key
from streams.agents.figures import count_anomaly
from streams.engine.batch import Batch, Headers, headers_of


def text_headers(message: Message) -> dict[str, str]:
    """The record's headers as text (latin-1, as HTTP has them); of a repeated name the last."""
    return {
        name: value.decode("latin-1") for name, value in headers_of(message) if value is not None
    }


def trace(message: Message) -> Headers | None:
    """The W3C trace context of the record, to be passed on with what follows from it."""
    return tracing.passed_on(headers_of(message)) or None


def with_event_id(event_id: str, traced: Headers | None) -> Headers:
    """Headers of an event: its id, by which consumers drop repeats, and the trace."""
    own: Headers = [("event-id", event_id.encode())]
    return own + traced if traced else own


def send_link_event(batch: Batch, event: LinkEvent, traced: Headers | None) -> None:
    """One fact about a link, to the stage that keeps its row."""
    key = message_key(event["provider"], event["link_id"])
    headers = with_event_id(event["event_id"], traced)
    batch.send(topics.LINK_EVENTS.name, key, codec.LINK_EVENT.encode(event), headers)


def send_anomaly(batch: Batch, anomaly: Anomaly, traced: Headers | None) -> None:
    """For people; it is counted, too."""
    count_anomaly(batch, anomaly)
    key = message_key(anomaly["provider"], anomaly["link_id"])
    headers = with_event_id(anomaly["event_id"], traced)
    batch.send(topics.ANOMALIES.name, key, codec.ANOMALY.encode(anomaly), headers)


def place(message: Message) -> tuple[int, bytes]:
    """Partition and key of a keyed record. Raises ValueError if it has no key."""
    partition, key = message.partition(), message.key()
    if partition is None or not isinstance(key, bytes):
        raise ValueError("a record of this topic needs a key")
    return partition, key


def check_key(key: bytes, expected: bytes) -> None:
    """Refuses a record whose key is not that of what it is about: it may stand in a wrong
    partition.
    """
    if key != expected:
        raise ValueError(f"key {key[:200]!r} where {expected[:200]!r} was expected")
