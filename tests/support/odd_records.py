"""Records that no producer should write, for any topic: each is a batch of one record."""

import gzip
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

from schemas import codec, limits
from schemas.topics import Topic
from tests.support import record_batches
from tests.support.avro import framed, sample
from tests.support.codecs import CODECS
from tests.support.record_batches import batch, record

Headers = list[tuple[bytes, bytes | None]]
_LONGS = (-(2**63), -1, 0, 1_767_225_600_000, 2**63 - 1)
_TEXTS = ("", "\0", "a\nb", "..", "x" * 300, "é🎉", "0" * 5000)


class Odd(NamedTuple):
    """A record, and whether its value alone makes it unreadable."""

    name: str
    data: bytes
    broken: bool


def odd_records(topic: Topic[Any]) -> Iterator[Odd]:
    """Yield records that differ from those of the topic in one thing each."""
    key = b"ping:odd"
    good = b'{"id": "odd", "status": "CREATED"}'
    if topic.schema:
        good = CODECS.encode(topic.schema, sample(topic.schema.json))
        yield from _odd_fields(topic)
    for name, value in _values(topic, good):
        yield Odd(f"value: {name}", batch([record(0, key, value)]), topic.schema is not None)
    yield Odd("tombstone", batch([record(0, key, None)]), topic.keep_ms is not None)
    keys = [b"", b"\xff", b"\0", b":", b"ping:", b"x" * 100_000]
    for odd_key in keys if topic.keep_ms is None else [None, *keys]:
        name = "none" if odd_key is None else repr(odd_key[:10])
        yield Odd(f"key: {name}", batch([record(0, odd_key, b"{}")]), topic.schema is not None)
    for name, headers in _HEADERS.items():
        yield Odd(f"headers: {name}", batch([record(0, key, good, headers)]), False)
    for at in (-(2**63), -1, 0, 1):
        yield Odd(f"timestamp: {at}", batch([record(0, key, good)], at=at), False)
    yield Odd("gzip", batch([record(0, key, good)], compress=gzip.compress), False)


_HEADERS: dict[str, Headers] = {
    "null": [(name, None) for name in (b"a", b"event-id", b"traceparent", b"source", b"origin")],
    "repeated": [(b"traceparent", b"00-1-2-3")] * 10_000,
    "names": [(b"", b"1"), (b"\xff\xfe", b"1"), (b"a\0b", b"1"), (b"n" * 10_000, b"1")],
    "large": [(b"content-type", b"a" * 2_000_000)],
    "ours": [
        (name, b"\xff-1")
        for name in (
            *(b"provider", b"source", b"verified", b"received-at", b"content-type", b"event-id"),
            *(b"lookup-link", b"lookup-claim", b"lookup-status", b"traceparent", b"stage"),
            *(b"reason", b"origin", b"replay-of", b"content-encoding"),
        )
    ],
}


def _values(topic: Topic[Any], good: bytes) -> Iterator[tuple[str, bytes]]:
    other = codec.NOTICE if topic.schema is not codec.NOTICE else codec.ANOMALY
    yield "empty", b""
    yield "no record", b"{}"
    yield "zeros", bytes(100)
    yield "a large text", b"x" * (limits.RECORD_BYTES - 2_000)
    yield "nested JSON", b"[" * 100_000
    yield "compressed", zlib.compress(good)
    yield "unknown schema id", framed(0x7FFFFFF1, good[5:])
    yield "half a record", good[: len(good) // 2]
    yield "two records", good + good[5:]
    yield "another schema", CODECS.encode(other, sample(other.json))


def _odd_fields(topic: Topic[Any]) -> Iterator[Odd]:
    """Yield records that fit the schema, and whose every number or text is odd."""
    assert topic.schema
    for odd in (*_LONGS, *_TEXTS):
        content = _replaced(sample(topic.schema.json), odd)
        content = {**content, **({"provider": "ping"} if "provider" in content else {})}
        identifier = next((n for n in ("link_id", "payment_id", "order_id") if n in content), None)
        key = f"ping:{content[identifier] if identifier else ''}".encode()
        value = CODECS.encode(topic.schema, content)
        yield Odd(
            f"every {type(odd).__name__} is {odd!r:.20}", batch([record(0, key, value)]), False
        )


def _replaced(value: Any, odd: int | str) -> Any:
    if isinstance(value, dict):
        return {key: _replaced(inner, odd) for key, inner in value.items()}
    if isinstance(value, list):
        return [_replaced(inner, odd) for inner in value]
    is_time = isinstance(value, int) and value > 1_000_000
    same = is_time if isinstance(odd, int) else value == "text"
    return odd if same else value


def write(cluster: Any, topic: Topic[Any], partitions: int) -> list[Odd]:
    """Write all odd records of a topic, and return those that its broker took."""
    written = []
    for number, odd in enumerate(odd_records(topic)):
        try:
            record_batches.write(cluster, topic.name, number % partitions, odd.data)
        except record_batches.Refused:
            continue
        written.append(odd)
    return written
