"""Confluent's own Avro (de)serializer, as an ordinary client of our topics uses it."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from confluent_kafka import Message
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

__all__ = ["deserialized", "serialized"]

# The default strategy requests a path of Confluent's cloud; Apicurio may never answer it.
_TOPIC_NAMES = {"subject.name.strategy.type": "TOPIC"}


def _client(url: str) -> SchemaRegistryClient:
    return SchemaRegistryClient({"url": url, "timeout": 10})


def deserialized(url: str, messages: Iterable[Message]) -> list[Any]:
    """Decode the records with the registry at `url`; times are microseconds again."""
    with _client(url) as client:
        read = AvroDeserializer(client, conf=_TOPIC_NAMES)
        return [
            _micros(read(m.value(), SerializationContext(m.topic() or "", MessageField.VALUE)))
            for m in messages
        ]


def serialized(url: str, topic: str, schema: str, record: Any) -> bytes:
    """Encode like a foreign producer, which registers its schema."""
    with _client(url) as client:
        write = AvroSerializer(client, schema, conf=_TOPIC_NAMES)
        data = write(record, SerializationContext(topic, MessageField.VALUE))
        assert isinstance(data, bytes)
        return data


def _micros(value: Any) -> Any:
    if isinstance(value, datetime):
        whole = int(value.replace(microsecond=0).timestamp())
        return whole * 1_000_000 + value.microsecond
    if isinstance(value, dict):
        return {key: _micros(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_micros(part) for part in value]
    return value
