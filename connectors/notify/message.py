"""What an endpoint gets: the body of an event, and the headers of Standard Webhooks 1.0. Pure.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson
from standardwebhooks import Webhook

from connectors.serialize import as_json, rfc3339
from schemas import times
from schemas.cloud_events import event_time
from schemas.codec import BadRecord, Schema

# The id stands in a header, and before a full stop in what is signed.
_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")


class Event(NamedTuple):
    """An event to send. Events that share a key, an order's or a link's, keep their order."""

    id: str
    keys: tuple[str, ...]
    body: bytes


def event_of(schema: Schema[Any], record: Mapping[str, Any]) -> Event:
    """Return the event of a record: `type` and `timestamp` as in its CloudEvents headers, `data` as
    the JSON API shows it. Raises BadRecord.
    """
    event_id, at = record["event_id"], event_time(schema, record)
    if not _ID.fullmatch(event_id):
        raise BadRecord("its event_id is no id")
    try:
        times.check(at or 0)
    except times.BadTime as error:
        raise BadRecord(f"its time: {error}") from error
    data = as_json(schema, record)
    body = {"type": schema.full_name, "timestamp": rfc3339(at), "data": data}
    return Event(event_id, _keys(record), orjson.dumps(body))


def _keys(record: Mapping[str, Any]) -> tuple[str, ...]:
    of = record["provider"]
    named = ((name, record.get(name)) for name in ("order_id", "link_id"))
    return tuple(f"{name}:{of}:{identifier}" for name, identifier in named if identifier)


def headers(event: Event, secrets: Iterable[str], now: int) -> dict[str, str]:
    """Return the headers of an attempt at `now` (microseconds, UTC), with a signature by each
    secret: a receiver accepts any that fits, so secrets are replaced without a gap.
    """
    at = datetime.fromtimestamp(now // 1_000_000, UTC)
    body = event.body.decode()
    signatures = [Webhook(secret).sign(event.id, at, body) for secret in secrets]
    return {
        "content-type": "application/json",
        "user-agent": "linkstatus",
        "webhook-id": event.id,
        "webhook-timestamp": str(now // 1_000_000),
        "webhook-signature": " ".join(signatures),
    }
