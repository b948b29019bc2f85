"""AsyncAPI 3.0 of the topics: what is in each, its key, how long Kafka keeps it, and what other
services may read and write.
"""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from schemas import cloud_events, topics
from schemas.codec import Schema
from schemas.topics import Topic, all_topics

FILE = Path(__file__).with_name("asyncapi.json")
_ABOUT = (
    "The topics of linkstatus; LINKSTATUS_TOPIC_PREFIX comes before each address. "
    "Values are Avro in Confluent framing: byte 0, the schema's id in four bytes, the body. "
    "Read them read_committed; an event that repeats has the same header event-id."
)
_EVENT_HEADERS = (
    *("event-id", "ce_specversion", "ce_id", "ce_type", "ce_source", "ce_subject", "ce_time"),
    *("content-type", "traceparent"),
)
_STATE_HEADERS = ("traceparent",)
_AVRO = "application/vnd.apache.avro+json;version=1.9.0"
_BINDING = "0.5.0"
# What other services may write.
_WRITABLE = (topics.LINKS, topics.ORDER_UPDATES)
_DEAD_LETTER = "What no rule understands, as received, with the reason and its origin."
_PAYOUTS = "What providers paid out: answers of their APIs, or files, as received, in parts."
_SCHEMA = "Which schema the id in a record's frame stands for: the schema, as JSON."
_KEYS = {
    "link": "provider:link_id",
    "payment": "provider:payment_id",
    "order": "provider:order_id",
    "payout": "provider:payout_id",
    "day": "provider:day, such as ping:2026-11-01",
    "window": "provider:window, such as ping:2026-11-01",
    "provider": "The provider's name.",
    "schema": "The id, in digits.",
    "dead letter": "partition/offset of the dead letter",
    "as received": "provider:link_id where the body names a link cheaply, else none",
}
_TEXTS = {
    "provider": "Its name, as in the callback's path.",
    "source": "callback, lookup, poll or replay.",
    "verified": "1 if its signature was proven or it came from the provider's API, else 0.",
    "received-at": "Milliseconds since 1970, UTC.",
    "content-type": "Of the value; of a callback as received.",
    "content-encoding": "Of the body, as received: gzip, x-gzip, deflate or identity.",
    "callback-id": "One for each delivery.",
    "traceparent": "W3C Trace Context, if the sender or the tracing of the edge gave one.",
    "stage": "Which stage refused the record.",
    "reason": "Why, in words.",
    "origin": "Where the record stood: topic/partition/offset.",
    "item": "The only item of the body that it is about, such as events.3.",
    "replay-of": "Of a replay: topic/partition/offset of the dead letter.",
    "replay-id": "Of a replay: the event_id of the Replay that says who asked for it.",
    "event-id": "By which consumers drop repeats.",
    "ce_specversion": "CloudEvents, binary mode: its version, 1.0.",
    "ce_id": "CloudEvents: the event-id.",
    "ce_type": "CloudEvents: the full name of the value's schema.",
    "ce_source": f"CloudEvents: {cloud_events.SOURCE}.",
    "ce_subject": "CloudEvents: the record's key.",
    "ce_time": "CloudEvents: when the event was decided or received, RFC 3339, UTC.",
    "payout-source": "api or file.",
    "payout-from": "The first UTC day that it is about, such as 2026-11-01.",
    "payout-to": "The UTC day after the last one.",
    "payload-id": "SHA-256 of all that the parts of one answer or file have in common, and of it.",
    "part": "Number of the part, from 1.",
    "parts": "Number of parts.",
}
_CALLBACK_HEADERS = (
    *("provider", "source", "verified", "received-at", "content-type"),
    *("content-encoding", "callback-id", "traceparent", "replay-of", "replay-id", "item"),
)
_PAYOUT_HEADERS = (
    *("provider", "payout-source", "payout-from", "payout-to", "content-type"),
    *("payload-id", "part", "parts"),
)
_DEAD_LETTER_HEADERS = (*_CALLBACK_HEADERS, "stage", "reason", "origin")
# By raw topic; all others have callbacks.
_HEADERS = {
    topics.DEAD_LETTERS.name: _DEAD_LETTER_HEADERS,
    topics.PAYOUTS_RAW.name: _PAYOUT_HEADERS,
}


def text(providers: Collection[str]) -> str:
    """The document as it is in `FILE`."""
    return json.dumps(document(providers), indent=1, ensure_ascii=False) + "\n"


def document(providers: Collection[str]) -> dict[str, Any]:
    """The AsyncAPI document of an installation with these providers."""
    every = all_topics(providers)
    public = [topic for topic in every if topic.public]
    writable = [topic for topic in public if topic in _WRITABLE]
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "linkstatus", "version": "1", "description": _ABOUT},
        "channels": {topic.name: _channel(topic) for topic in every},
        # From the application's side: it sends what others read, and receives what others write.
        "operations": {
            **{f"read-{topic.name}": _operation("send", topic) for topic in public},
            **{f"write-{topic.name}": _operation("receive", topic) for topic in writable},
        },
        "components": {"messages": {_message_name(topic): _message(topic) for topic in every}},
    }


def _channel(topic: Topic[Any]) -> dict[str, Any]:
    message = {"$ref": f"#/components/messages/{_message_name(topic)}"}
    return {
        "address": topic.name,
        "description": _description(topic),
        "tags": [{"name": "public" if topic.public else "between stages"}],
        "messages": {"record": message},
        "bindings": {"kafka": {"topicConfiguration": _kept(topic), "bindingVersion": _BINDING}},
    }


def _kept(topic: Topic[Any]) -> dict[str, Any]:
    if topic.keep_ms is None:
        return {"cleanup.policy": ["compact"]}
    return {"cleanup.policy": ["delete"], "retention.ms": topic.keep_ms}


def _description(topic: Topic[Any]) -> str:
    if topic.schema is not None:
        return str(topic.schema.json["doc"])
    if topic is topics.DEAD_LETTERS:
        return _DEAD_LETTER
    if topic is topics.SCHEMAS:
        return _SCHEMA
    if topic is topics.PAYOUTS_RAW:
        return _PAYOUTS
    provider = topic.name.rpartition(".")[2]
    return f"Callbacks of {provider} and answers of its API, as received."


def _operation(action: str, topic: Topic[Any]) -> dict[str, Any]:
    channel = {"$ref": f"#/channels/{topic.name.replace('/', '~1')}"}
    return {"action": action, "channel": channel, "summary": _description(topic)}


def _message_name(topic: Topic[Any]) -> str:
    return topic.schema.json["name"] if topic.schema is not None else topic.name


def _message(topic: Topic[Any]) -> dict[str, Any]:
    key = {"type": "string", "description": _KEYS[topic.key]}
    kafka: dict[str, Any] = {"key": key, "bindingVersion": _BINDING}
    message = {"name": _message_name(topic), "title": _description(topic)}
    if topic is topics.SCHEMAS:
        return message | {"contentType": "application/json", "bindings": {"kafka": kafka}}
    if topic.schema is None:
        names = _HEADERS.get(topic.name, _CALLBACK_HEADERS)
        return message | {"headers": _headers(*names), "bindings": {"kafka": kafka}}
    kafka |= {"schemaIdLocation": "payload", "schemaIdPayloadEncoding": "confluent"}
    return message | {
        "contentType": cloud_events.CONTENT_TYPE,
        "headers": _headers(*(_EVENT_HEADERS if _is_event(topic.schema) else _STATE_HEADERS)),
        "payload": {"schemaFormat": _AVRO, "schema": topic.schema.json},
        "bindings": {"kafka": kafka},
    }


def _is_event(schema: Schema[Any]) -> bool:
    return any(field["name"] == "event_id" for field in schema.json["fields"])


def _headers(*names: str) -> dict[str, Any]:
    texts = {name: {"type": "string", "description": _TEXTS[name]} for name in names}
    return {"type": "object", "properties": texts}
