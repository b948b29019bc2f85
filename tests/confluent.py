"""Confluent's own Avro deserializer: what an ordinary consumer of our topics has."""

import warnings
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from confluent_kafka import Message

# It imports authlib, for registries that ask for OAuth, and authlib deprecates httpx whoever asks.
with warnings.catch_warnings(record=True):
    from confluent_kafka.schema_registry import SchemaRegistryClient
    from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
    from confluent_kafka.serialization import MessageField, SerializationContext

__all__ = ["deserialized", "serialized"]

# The default strategy asks for a path of Confluent's cloud, which Apicurio may never answer.
_TOPIC_NAMES = {"subject.name.strategy.type": "TOPIC"}


def _client(url: str) -> SchemaRegistryClient:
    return SchemaRegistryClient({"url": url, "timeout": 10})


def deserialized(url: str, messages: Iterable[Message]) -> list[Any]:
    """The records, by the schemas of the registry at `url`; times as microseconds again."""
    with _client(url) as client:
        read = AvroDeserializer(client, conf=_TOPIC_NAMES)
        return [
            _micros(read(one.value(), SerializationContext(one.topic() or "", MessageField.VALUE)))
            for one in messages
        ]


def serialized(url: str, topic: str, schema: str, record: Any) -> bytes:
    """As somebody else's producer writes it, registering the schema it has."""
    with _client(url) as client:
        write = AvroSerializer(client, schema, conf=_TOPIC_NAMES)
        written = write(record, SerializationContext(topic, MessageField.VALUE))
        assert isinstance(written, bytes)
        return written


def _micros(value: Any) -> Any:
    if isinstance(value, datetime):
        whole = int(value.replace(microsecond=0).timestamp())
        return whole * 1_000_000 + value.microsecond
    if isinstance(value, dict):
        return {key: _micros(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_micros(part) for part in value]
    return value
