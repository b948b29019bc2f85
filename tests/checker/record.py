"""`python -m tests.checker.record --brokers … > history.jsonl`: writes what is on a cluster.

Each topic is read twice: without the records of open and aborted transactions, and with them.
"""

import argparse
import json
import sys
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from operator import methodcaller
from pathlib import Path
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from tests.checker.avro import Decode, Decoder, released_schemas
from tests.checker.history import CALLBACKS, DEAD, LINKS, TYPED, UPDATES, Place

Line = dict[str, Any]

_SCHEMAS = "schemas"
_TIMEOUT = 30.0
# The interpreter's quick calls do not notice that the method fails on a name that is not UTF-8.
_headers = methodcaller("headers")


def record(
    config: Mapping[str, Any], prefix: str = "", registry: str | None = None
) -> Iterator[Line]:
    """Yield the lines about a cluster. `config` is that of a client of librdkafka, `prefix` that of
    the topics. Record a cluster that is quiet: what is under way would seem to be lost.
    """
    with closing(_consumer(config, "read_uncommitted")) as consumer:
        partitions = [*_partitions(consumer, prefix)]
        schemas = [place for place in partitions if place.topic == prefix + _SCHEMAS]
        noted = {int(m.key() or b""): (m.value() or b"").decode() for m in _all(consumer, schemas)}
        chosen = [place for place in partitions if place.topic != prefix + _SCHEMAS]
        yield from _starts(consumer, chosen, prefix)
        messages = {_place(m, prefix): m for m in _all(consumer, chosen)}
    ends: dict[Place, int] = {}
    with closing(_consumer(config, "read_committed")) as consumer:
        committed = {_place(m, prefix): m for m in _all(consumer, chosen, ends, prefix)}
    decode = Decoder(released_schemas() | noted, registry)
    for place, message in sorted((messages | committed).items()):
        is_open = place[2] >= ends[*place[:2], 0]
        outcome = "committed" if place in committed else "open" if is_open else "aborted"
        key, value, at = message.key(), message.value(), message.timestamp()[1]
        yield record_line(place, key, value, _headers_of(message), at, outcome, decode)


def record_line(
    place: Place,
    key: bytes | None,
    value: bytes | None,
    headers: Iterable[tuple[str, bytes | None]],
    at: int,
    outcome: str,
    decode: Decode,
) -> Line:
    """Return the line of one record. `at` in milliseconds. Bytes are texts in Latin-1."""
    line: Line = {"type": "record", "topic": place[0], "partition": place[1], "offset": place[2]}
    line |= {"key": None if key is None else key.decode(errors="replace"), "at": at}
    line["outcome"] = outcome
    if place[0] not in TYPED or place[0] == LINKS:
        line["headers"] = {name: (text or b"").decode("latin-1") for name, text in headers}
    if place[0] not in TYPED:
        return {**line, "body": (value or b"").decode("latin-1")}
    try:
        return line if value is None else {**line, "value": decode(value)}
    except ValueError as error:
        if place[0] not in (LINKS, UPDATES):
            raise ValueError(f"{'/'.join(map(str, place))}: {error}") from error
        # Any program may write anything there. The product dead-letters it.
        return {**line, "body": (value or b"").decode("latin-1")}


def _consumer(config: Mapping[str, Any], isolation: str) -> Consumer:
    own = {
        # Required, and never joined.
        "group.id": f"checker-{uuid.uuid4()}",
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "auto.offset.reset": "earliest",
        "isolation.level": isolation,
        "fetch.wait.max.ms": 50,
    }
    return Consumer({**config, **own})


def _partitions(consumer: Consumer, prefix: str) -> Iterator[TopicPartition]:
    for name, topic in consumer.list_topics(timeout=_TIMEOUT).topics.items():
        plain = name.removeprefix(prefix)
        ours = plain in (*TYPED, DEAD, _SCHEMAS) or plain.startswith(CALLBACKS)
        if name.startswith(prefix) and ours:
            for number in topic.partitions:
                yield TopicPartition(name, number, OFFSET_BEGINNING)


def _starts(consumer: Consumer, partitions: list[TopicPartition], prefix: str) -> Iterator[Line]:
    for each in partitions:
        start, end = consumer.get_watermark_offsets(each, timeout=_TIMEOUT)
        name = each.topic.removeprefix(prefix)
        line = {"type": "partition", "topic": name, "partition": each.partition}
        yield {**line, "start": start, "end": end}


def _all(
    consumer: Consumer,
    partitions: list[TopicPartition],
    ends: dict[Place, int] | None = None,
    prefix: str = "",
) -> Iterator[Any]:
    """Yield the records up to the present end of each partition, which is noted in `ends`. Raises
    KafkaException.
    """
    unread = {(each.topic, each.partition) for each in partitions}
    if unread:
        consumer.assign(partitions)
    deadline = time.monotonic() + _TIMEOUT
    while unread:
        messages = consumer.consume(500, 0.05)
        if messages:
            deadline = time.monotonic() + _TIMEOUT
        elif time.monotonic() > deadline:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "no record came"))
        for message in messages:
            error = message.error()
            if error is None:
                yield message
            elif error.code() == KafkaError._PARTITION_EOF:
                unread.discard((message.topic(), message.partition()))
                if ends is not None:
                    topic, partition, end = _place(message, prefix)
                    ends[topic, partition, 0] = end
            elif not error.retriable():
                raise KafkaException(error)


def _place(message: Any, prefix: str) -> Place:
    return message.topic().removeprefix(prefix), message.partition(), message.offset()


def _headers_of(message: Any) -> list[tuple[str, bytes | None]]:
    """Return the headers; none of a record with a name that is not UTF-8."""
    try:
        return _headers(message) or []
    except (SystemError, UnicodeDecodeError):
        message.set_headers([])
        return []


def reader_line(reader: str, topic: str, sees: str) -> Line:
    """Return the line of a reader of a topic."""
    return {"type": "reader", "reader": reader, "topic": topic, "sees": sees}


def read_line(reader: str, topic: str, **what: Any) -> Line:
    """Return the line of something that a reader has seen."""
    return {"type": "read", "reader": reader, "topic": topic, **what}


def write(lines: Iterable[Line], out: Any) -> None:
    for line in lines:
        out.write(json.dumps(line) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser("python -m tests.checker.record", description=__doc__)
    parser.add_argument("--brokers", required=True, help="host:port, separated by commas")
    parser.add_argument("--prefix", default="", help="the prefix of the topics")
    parser.add_argument("--registry", help="the URL of an external schema registry")
    parser.add_argument("--client", help="a JSON file with more settings of librdkafka")
    parser.add_argument("--with", type=Path, dest="more", help="lines to write first")
    arguments = parser.parse_args()
    config = json.loads(Path(arguments.client).read_text()) if arguments.client else {}
    config["bootstrap.servers"] = arguments.brokers
    if arguments.more:
        sys.stdout.write(arguments.more.read_text())
    write(record(config, arguments.prefix, arguments.registry), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
