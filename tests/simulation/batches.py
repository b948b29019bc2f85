"""Record batches as they are on the wire (KIP-98): what aiokafka sends and fetches."""

from collections.abc import Iterable, Iterator
from struct import pack, pack_into, unpack_from
from typing import NamedTuple

from aiokafka.record.default_records import DefaultRecordBase, DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c

from tests.simulation.log import Entry, Record

_MAGIC, _UNCOMPRESSED, _SIZE = 2, 0, 1 << 20
_BASE_OFFSET, _CRC, _ATTRIBUTES, _PRODUCER = 0, 17, 21, 43
# Version and kind of a marker. What kind does not matter: aborted records are left out.
_MARKER_KEY, _MARKER_VALUE = pack(">hh", 0, 1), pack(">hi", 0, 0)


class Sent(NamedTuple):
    """A batch of a producer. `sequence` is that of its first record."""

    producer: int
    epoch: int
    sequence: int
    records: list[Record]


def sent(data: bytes, at: int) -> Iterator[Sent]:
    """Yield the batches of a request. `at` is the time of their arrival, in milliseconds."""
    batches, place = MemoryRecords(bytes(data)), 0
    while (batch := batches.next_batch()) is not None:
        producer, epoch, sequence = unpack_from(">qhi", data, place + _PRODUCER)
        place += 12 + unpack_from(">i", data, place + 8)[0]
        records = [Record(each.key, each.value, list(each.headers), at) for each in batch]
        yield Sent(producer, epoch, sequence, records)


def fetched(entries: Iterable[Entry]) -> bytes:
    """Return the entries, each as a batch of its own."""
    return b"".join(_marker(entry) if entry.record is None else _batch(entry) for entry in entries)


def _batch(entry: Entry) -> bytearray:
    record = entry.record
    assert record is not None
    return _built(entry, record.key, record.value, record.headers, record.at)


def _marker(entry: Entry) -> bytearray:
    data = _built(entry, _MARKER_KEY, _MARKER_VALUE, [], 0)
    (attributes,) = unpack_from(">h", data, _ATTRIBUTES)
    pack_into(">h", data, _ATTRIBUTES, attributes | DefaultRecordBase.CONTROL_MASK)
    pack_into(">I", data, _CRC, calc_crc32c(data[_ATTRIBUTES:]))
    return data


def _built(
    entry: Entry,
    key: bytes | None,
    value: bytes | None,
    headers: Iterable[tuple[str, bytes | None]],
    at: int,
) -> bytearray:
    builder = DefaultRecordBatchBuilder(
        *(_MAGIC, _UNCOMPRESSED, entry.in_txn, entry.producer, 0, 0, _SIZE)
    )
    builder.append(0, at, key, value, [*headers])
    data = bytearray(builder.build())
    pack_into(">q", data, _BASE_OFFSET, entry.offset)
    return data
