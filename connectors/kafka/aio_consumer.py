"""An aiokafka consumer that no record can stop.

aiokafka fails for ever at a record batch that it cannot read: a header's name that is not UTF-8, a
compression it has no library for, or broken bytes. librdkafka reads around all of them. aiokafka
offers no other way than to replace the class that splits fetched bytes into batches;
`test_aio_consumer` fails when its internals change.
"""

from collections.abc import Iterator
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.consumer import fetcher
from aiokafka.record import default_records, memory_records

from connectors.kafka.cluster import Cluster
from connectors.reasons import reason_of


def consumer(cluster: Cluster, **options: Any) -> AIOKafkaConsumer:
    """Return a consumer that commits nothing by itself, by default of committed records."""
    defaults = {"isolation_level": "read_committed", "metadata_max_age_ms": 30_000}
    return AIOKafkaConsumer(**cluster.aiokafka(), enable_auto_commit=False, **(defaults | options))


class _Lenient(bytearray):
    """Bytes whose parts decode as text whatever they hold."""

    def __getitem__(self, index: Any) -> Any:
        part = super().__getitem__(index)
        return part if isinstance(part, int) else _Lenient(part)

    def decode(self, encoding: str = "utf-8", errors: str = "replace") -> str:
        return super().decode(encoding, errors)


class _LenientBatch(default_records._DefaultRecordBatchPy):  # type: ignore[misc]
    """A batch in Python: slow, and it accepts any name of a header."""

    _buffer: bytearray

    def _maybe_uncompress(self) -> None:
        super()._maybe_uncompress()
        self._buffer = _Lenient(self._buffer)


class _Batch:
    """A batch whose records are read at once, as far as they can be read."""

    def __init__(self, data: bytes, batch: Any) -> None:
        self._data = data
        self._batch = batch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        return next(self._batch)

    def __iter__(self) -> Iterator[Any]:
        try:
            return iter(list(self._batch))
        except Exception:
            return iter(_readable(self._data))


def _readable(data: bytes) -> list[Any]:
    """Return the records of a batch that aiokafka cannot read. A batch that cannot be read at all
    is one record without a value, which has the reason.
    """
    batch = _LenientBatch(data)
    try:
        return list(batch)
    except Exception as error:
        reason = [("unreadable", reason_of(error)[:500].encode(errors="replace"))]
        last = batch.next_offset - 1
        return [default_records._DefaultRecordPy(last, batch.max_timestamp, 0, None, None, reason)]


class _MemoryRecords:
    """What aiokafka's class of this name does."""

    def __init__(self, data: bytes) -> None:
        self._records = memory_records._MemoryRecordsPy(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._records, name)

    def next_batch(self) -> Any:
        data = bytes(self._records._next_slice or b"")
        batch = self._records.next_batch()
        return _Batch(data, batch) if batch is not None and batch.magic >= 2 else batch


fetcher.MemoryRecords = _MemoryRecords
