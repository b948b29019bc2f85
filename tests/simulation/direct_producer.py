"""A producer outside of any simulated process."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from connectors.kafka.partitioner import partition_of
from schemas.headers import Headers
from tests.simulation.cluster import SimulatedKafka
from tests.simulation.groups import Partition
from tests.simulation.log import Record
from tests.simulation.outbox import Delivered

_BACKOFF_SECONDS = 0.1


class DirectProducer:
    """Each record is on the cluster at once, or as soon as its partition has a leader."""

    def __init__(self, kafka: SimulatedKafka, settings: Mapping[str, Any], **_: Any) -> None:
        self._kafka = kafka
        self._producer = kafka.transactions.new_producer()
        self._sequences: Counter[Partition] = Counter()

    def produce(
        self,
        topic: str,
        value: bytes | None = None,
        key: bytes | None = None,
        partition: int = -1,
        on_delivery: Delivered | None = None,
        timestamp: int = 0,
        headers: Headers | None = None,
    ) -> None:
        if partition < 0:
            partition = partition_of(key or b"", len(self._kafka.topics[topic]))
        place = topic, partition
        record = Record(key, value, list(headers or []), timestamp or self._kafka.now_ms())
        self._append(place, record)

    def _append(self, place: Partition, record: Record) -> None:
        if not self._kafka.has_leader(place):
            self._kafka.scheduler.later(_BACKOFF_SECONDS, lambda: self._append(place, record))
            return
        self._kafka.append(None, place, self._producer, 0, self._sequences[place], [record])
        self._sequences[place] += 1

    def poll(self, timeout: float = 0) -> int:
        return 0

    def flush(self, timeout: float = 0) -> int:
        return 0
