"""The batches that a producer has to send, in their order for each partition."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random

from confluent_kafka import KafkaError

from tests.simulation.groups import Partition
from tests.simulation.log import Record, batch_bytes

Delivered = Callable[[KafkaError | None, object], None]
Queued = tuple[Record, Delivered | None]

# librdkafka's `batch.size`, and how often its thread is faster than the one that produces.
_BATCH_BYTES = 1_000_000
_SPLIT_SHARE = 0.3


@dataclass(slots=True, eq=False)
class Batch:
    place: Partition
    records: list[Record]
    delivered: list[Delivered]
    sequence: int = -1
    # It was refused, and waits before it is sent again.
    is_held: bool = False


def batches(place: Partition, queued: Iterable[Queued], most: int, random: Random) -> list[Batch]:
    """Return the records as batches of at most so many; where one ends depends on chance."""
    result: list[Batch] = []
    for record, delivered in queued:
        last = result[-1] if result else None
        if (
            last is None
            or len(last.records) == most
            or random.random() < _SPLIT_SHARE
            or batch_bytes([*last.records, record]) > _BATCH_BYTES
        ):
            last = Batch(place, [], [])
            result.append(last)
        last.records.append(record)
        if delivered is not None:
            last.delivered.append(delivered)
    return result


class Outbox:
    """Calls `send` with each batch. At most `most` requests are under way at once."""

    def __init__(self, most: int, send: Callable[[Batch], None]) -> None:
        self._most, self._send = most, send
        self._waiting: list[Batch] = []
        self._under_way: list[Batch] = []

    def __len__(self) -> int:
        return len(self._waiting) + len(self._under_way)

    def add(self, new: Iterable[Batch]) -> None:
        self._waiting += new
        self._send_some()

    def done(self, batch: Batch) -> None:
        self._under_way.remove(batch)
        self._send_some()

    def hold(self, batch: Batch) -> None:
        """Take a refused batch back. It stays before the later ones of its partition."""
        self._under_way.remove(batch)
        batch.is_held = True
        later = (
            number
            for number, other in enumerate(self._waiting)
            if other.place == batch.place and not 0 <= other.sequence < batch.sequence
        )
        self._waiting.insert(next(later, len(self._waiting)), batch)
        self._send_some()

    def release(self, batch: Batch) -> None:
        batch.is_held = False
        self._send_some()

    def clear(self) -> None:
        """Forget all batches. The answers to those that are under way have no effect."""
        self._waiting.clear()
        self._under_way.clear()

    def is_under_way(self, batch: Batch) -> bool:
        return batch in self._under_way

    def _send_some(self) -> None:
        blocked: set[Partition] = set()
        for batch in [*self._waiting]:
            if len(self._under_way) >= self._most:
                return
            if batch.is_held or batch.place in blocked:
                blocked.add(batch.place)
                continue
            self._waiting.remove(batch)
            self._under_way.append(batch)
            self._send(batch)
