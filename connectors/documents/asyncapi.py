"""AsyncAPI 3.0 of the topics: what is in each, how it is keyed, how long it is kept, and what a
service of somebody else may read and write.
"""

from collections.abc import Collection
from typing import Any

from schemas import topics
from schemas.topics import Topic, all_topics

_ABOUT = (
    "The topics of linkstatus; LINKSTATUS_TOPIC_PREFIX comes before each address. "
    "Values are Avro in Confluent framing: byte 0, the schema's id in four bytes, the body. "
    "Read them read_committed; an event that repeats has the same header event-id."
)
_AVRO = "application/vnd.apache.avro+json;version=1.9.0"
_BINDING = "0.5.0"
# What others may write besides our own processes.
_WRITABLE = (topics.LINKS, topics.ORDER_UPDATES)
_LETTER = "What no rule understands, as received, with the reason and its origin."
_SCHEMA = "Which schema the id in a record's frame stands for: the schema, as JSON."
_KEYS = {
    "link": "provider:link_id",
    "payment": "provider:payment_id",
    "order": "provider:order_id",
    "schema": "The id, in digits.",
    "dead letter": "partition/offset of the dead letter",
    "as received": "provider:link_id where the body names a link cheaply, else none",
}
_TEXTS = {
    "provider": "Its name, as in the callback's path.",
    "source": "callback, lookup, poll or replay.",
    "verified": "1 if its signature was proven or it came from the provider's API, else 0.",
    "received-at": "Milliseconds since 1970, UTC.",
    "content-type": "Of the body, as received.",
    "callback-id": "One for each delivery.",
    "traceparent": "W3C Trace Context, if the sender or the tracing of the edge gave one.",
    "stage": "Which stage refused the record.",
    "reason": "Why, in words.",
    "origin": "Where the record stood: topic/partition/offset.",
    "replay-of": "Of a replay: topic/partition/offset of the dead letter.",
    "replay-id": "Of a replay: the event_id of the Replay that says who asked for it.",
    "event-id": "By which consumers drop repeats.",
}
_CALLBACK_HEADERS = (
    *("provider", "source", "verified", "received-at", "content-type", "callback-id"),
    *("traceparent", "replay-of", "replay-id"),
)
_LETTER_HEADERS = (*_CALLBACK_HEADERS, "stage", "reason", "origin")


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
    if topic.codec is not None:
        return str(topic.codec.json["doc"])
    if topic is topics.DEAD_LETTERS:
        return _LETTER
    if topic is topics.SCHEMAS:
        return _SCHEMA
    provider = topic.name.rpartition(".")[2]
    return f"Callbacks of {provider} and answers of its API, as received."


def _operation(action: str, topic: Topic[Any]) -> dict[str, Any]:
    channel = {"$ref": f"#/channels/{topic.name.replace('/', '~1')}"}
    return {"action": action, "channel": channel, "summary": _description(topic)}


def _message_name(topic: Topic[Any]) -> str:
    return topic.codec.json["name"] if topic.codec is not None else topic.name


def _message(topic: Topic[Any]) -> dict[str, Any]:
    key = {"type": "string", "description": _KEYS[topic.key]}
    kafka: dict[str, Any] = {"key": key, "bindingVersion": _BINDING}
    message = {"name": _message_name(topic), "title": _description(topic)}
    if topic is topics.SCHEMAS:
        return message | {"contentType": "application/json", "bindings": {"kafka": kafka}}
    if topic.codec is None:
        names = _LETTER_HEADERS if topic is topics.DEAD_LETTERS else _CALLBACK_HEADERS
        return message | {"headers": _headers(*names), "bindings": {"kafka": kafka}}
    kafka |= {"schemaIdLocation": "payload", "schemaIdPayloadEncoding": "confluent"}
    return message | {
        "contentType": "application/vnd.confluent.avro",
        "headers": _headers("event-id", "traceparent"),
        "payload": {"schemaFormat": _AVRO, "schema": topic.codec.json},
        "bindings": {"kafka": kafka},
    }


def _headers(*names: str) -> dict[str, Any]:
    texts = {name: {"type": "string", "description": _TEXTS[name]} for name in names}
    return {"type": "object", "properties": texts}
