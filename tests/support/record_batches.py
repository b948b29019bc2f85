"""Writes record batches byte by byte: what no client writes, and a broker takes."""

import socket
import struct
import time
from collections.abc import Callable, Sequence
from contextlib import closing

from aiokafka.record.util import calc_crc32c

from connectors.kafka.cluster import Cluster
from tests.support.waiting import until_sync

Compress = Callable[[bytes], bytes]
GZIP = 1
_PRODUCE, _VERSION = 0, 3
_NO_LEADER_YET = (3, 6)


class Refused(Exception):
    """The broker answers with this error code."""


def _varint(number: int) -> bytes:
    number = (number << 1) ^ (number >> 63)
    out = b""
    while number >= 128:
        out += bytes((number & 127 | 128,))
        number >>= 7
    return out + bytes((number,))


def _text(data: bytes | None) -> bytes:
    return _varint(-1) if data is None else _varint(len(data)) + data


def record(
    delta: int,
    key: bytes | None,
    value: bytes | None,
    headers: Sequence[tuple[bytes, bytes | None]] = (),
) -> bytes:
    """Return the record at `delta` in its batch (Kafka protocol, "Record")."""
    body = b"\0" + _varint(0) + _varint(delta) + _text(key) + _text(value) + _varint(len(headers))
    body += b"".join(_text(name) + _text(text) for name, text in headers)
    return _varint(len(body)) + body


def batch(
    records: Sequence[bytes],
    *,
    at: int | None = None,
    compress: Compress | None = None,
    codec: int = GZIP,
) -> bytes:
    """Return a batch (Kafka protocol, "Record Batch") with timestamp `at` in milliseconds.
    `compress` stands for the compression with the number `codec`.
    """
    at = int(time.time() * 1000) if at is None else at
    body = b"".join(records)
    tail = struct.pack(">hi", codec if compress else 0, len(records) - 1)
    tail += struct.pack(">qqqhii", at, at, -1, -1, -1, len(records))
    tail += compress(body) if compress else body
    rest = struct.pack(">ibI", -1, 2, calc_crc32c(tail)) + tail
    return struct.pack(">qi", 0, len(rest)) + rest


def write(cluster: Cluster, topic: str, partition: int, data: bytes) -> None:
    """Send the batch to a cluster of one broker. Raises Refused."""
    until_sync(lambda: _send(cluster, topic, partition, data), "a leader of the partition")


def _send(cluster: Cluster, topic: str, partition: int, data: bytes) -> bool:
    name = cluster.topic(topic).encode()
    request = struct.pack(">hhih", _PRODUCE, _VERSION, 1, -1)
    request += struct.pack(">hhii", -1, -1, 30_000, 1)
    request += struct.pack(">h", len(name)) + name
    request += struct.pack(">iii", 1, partition, len(data)) + data
    host, _, port = cluster.brokers.rpartition(":")
    with closing(socket.create_connection((host, int(port)))) as connection:
        connection.sendall(struct.pack(">i", len(request)) + request)
        with connection.makefile("rb") as answers:
            (size,) = struct.unpack(">i", answers.read(4))
            answer = answers.read(size)
    (error,) = struct.unpack_from(">h", answer, 4 + 4 + 2 + len(name) + 4 + 4)
    if error and error not in _NO_LEADER_YET:
        raise Refused(error)
    return not error
