"""CloudEvents 1.0, binary mode of its Kafka binding: attributes as headers beside the Avro value.

Every record with an `event_id` has them, so tools that route CloudEvents need no Avro.
"""

from collections.abc import Mapping
from functools import cache, lru_cache
from time import gmtime, strftime
from typing import Any

from schemas.codec import Schema
from schemas.headers import Headers

SOURCE = "/linkstatus"
CONTENT_TYPE = "application/vnd.confluent.avro"
# When the event was decided or received. A payout and a reconciliation are about a whole day.
_TIMES = ("decided_at", "received_at", "last_at", "at")


def event_headers(schema: Schema[Any], key: bytes, record: Mapping[str, Any]) -> Headers:
    """Return the headers of an event: `event-id`, by which consumers drop repeats, and those of
    CloudEvents, whose `ce_id` is the same and whose `ce_subject` is the record's key.
    """
    time_field, same_in_all = _of_schema(schema)
    event_id = record["event_id"].encode()
    own: Headers = [("event-id", event_id), ("ce_id", event_id), ("ce_subject", key), *same_in_all]
    if time_field is not None:
        own.append(("ce_time", _rfc3339(record[time_field])))
    return own


def event_time(schema: Schema[Any], record: Mapping[str, Any]) -> int | None:
    """Return the time of an event (microseconds, UTC), as its `ce_time` has it."""
    time_field, _ = _of_schema(schema)
    return None if time_field is None else record[time_field]


@cache
def _of_schema(schema: Schema[Any]) -> tuple[str | None, Headers]:
    """Return the field of the time, and the headers that are the same in all records."""
    fields = {field["name"] for field in schema.json["fields"]}
    own: Headers = [
        ("ce_specversion", b"1.0"),
        ("ce_type", schema.full_name.encode()),
        ("ce_source", SOURCE.encode()),
        ("content-type", CONTENT_TYPE.encode()),
    ]
    return next((name for name in _TIMES if name in fields), None), own


def _rfc3339(micros: int) -> bytes:
    seconds, fraction = divmod(micros, 1_000_000)
    return b"%s.%06dZ" % (_to_seconds(seconds), fraction)


@lru_cache(maxsize=1024)
def _to_seconds(seconds: int) -> bytes:
    # Many events fall into one second.
    return strftime("%Y-%m-%dT%H:%M:%S", gmtime(seconds)).encode()
