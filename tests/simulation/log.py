"""A partition's log as a broker keeps it: offsets, markers, transactions, compaction, retention."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from confluent_kafka import KafkaError

from schemas.headers import Headers
from tests.simulation.network import Refused

# The first and the end offset, and the last stable one.
Offsets = tuple[int, int, int]


class Record(NamedTuple):
    """What a producer sends. `at` in milliseconds."""

    key: bytes | None
    value: bytes | None
    headers: Headers
    at: int


# What a batch and each of its records need besides keys, values and headers.
_BATCH_BYTES, _RECORD_BYTES, _HEADER_BYTES = 61, 10, 2


def batch_bytes(records: Sequence[Record]) -> int:
    """Return about how many bytes a batch of the records has."""
    return _BATCH_BYTES + sum(map(_record_bytes, records))


def _record_bytes(record: Record) -> int:
    headers = sum(len(name) + len(value) + _HEADER_BYTES for name, value in record.headers)
    return _RECORD_BYTES + len(record.key or b"") + len(record.value or b"") + headers


@dataclass(slots=True)
class Entry:
    """A place in the log. A marker has no record."""

    offset: int
    record: Record | None
    producer: int
    in_txn: bool
    is_aborted: bool = False
    # Deleted by compaction.
    is_gone: bool = False


@dataclass(slots=True)
class _ProducerState:
    epoch: int
    last_sequence: int = -1


class PartitionLog:
    """`entries` has everything that was ever appended, also what compaction and retention deleted:
    the verdict reads it. `largest` is the topic's `max.message.bytes`.
    """

    def __init__(self, largest: int) -> None:
        self._largest = largest
        self.entries: list[Entry] = []
        self.start = 0
        self.end = 0
        # The offset before which no transaction is open.
        self.last_stable = 0
        self._producers: dict[int, _ProducerState] = {}
        # The first offset of each open transaction, by producer.
        self._open: dict[int, int] = {}

    def offsets(self) -> Offsets:
        return self.start, self.end, self.last_stable

    def append(
        self, producer: int, epoch: int, sequence: int, records: Sequence[Record], in_txn: bool
    ) -> None:
        """Append a batch once; `sequence` is that of its first record. Raises Refused: it is too
        large, the producer is fenced, or a batch is missing. The first batch of an unknown
        producer may have any sequence (KIP-360).
        """
        if batch_bytes(records) > self._largest:
            raise Refused(KafkaError.MSG_SIZE_TOO_LARGE)
        is_known = producer in self._producers
        state = self._state(producer, epoch)
        if sequence <= state.last_sequence:
            return
        if is_known and sequence != state.last_sequence + 1:
            raise Refused(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER)
        state.last_sequence = sequence + len(records) - 1
        if in_txn:
            self._open.setdefault(producer, self.end)
        for record in records:
            self._add(record, producer, in_txn)

    def _add(self, record: Record | None, producer: int, in_txn: bool) -> None:
        self.entries.append(Entry(self.end, record, producer, in_txn))
        self.end += 1
        self.last_stable = min(self._open.values(), default=self.end)

    def _state(self, producer: int, epoch: int) -> _ProducerState:
        state = self._producers.get(producer)
        if state is None or state.epoch < epoch:
            state = self._producers[producer] = _ProducerState(epoch)
        if epoch < state.epoch:
            raise Refused(KafkaError.INVALID_PRODUCER_EPOCH)
        return state

    def mark(self, producer: int, epoch: int, commit: bool) -> None:
        """End the producer's transaction. From now on earlier epochs are fenced."""
        self._state(producer, epoch)
        first = self._open.pop(producer, self.end)
        if not commit:
            for entry in self.entries[first:]:
                entry.is_aborted |= entry.producer == producer
        self._add(None, producer, True)

    def read(self, offset: int, limit: int, committed: bool) -> tuple[list[Entry], int]:
        """Return the records from `offset` on, at most `limit`, and the next offset to read."""
        end, found = self.last_stable if committed else self.end, list[Entry]()
        place = max(offset, self.start)
        while place < end and len(found) < limit:
            entry = self.entries[place]
            if entry.record and not entry.is_gone and not (committed and entry.is_aborted):
                found.append(entry)
            place += 1
        return found, place

    def history(self) -> list[Entry]:
        """Return every committed record, the deleted ones too."""
        before = self.entries[: self.last_stable]
        return [entry for entry in before if entry.record and not entry.is_aborted]

    def compact(self, before: int) -> None:
        """Delete each record before that offset, and before any open transaction, whose key has a
        later record.
        """
        latest = {e.record.key: e.offset for e in self.history() if e.record}
        for entry in self.entries[: min(before, self.last_stable)]:
            if entry.record and latest.get(entry.record.key, -1) > entry.offset:
                entry.is_gone = True

    def delete_before(self, offset: int) -> None:
        self.start = max(self.start, min(offset, self.last_stable))
