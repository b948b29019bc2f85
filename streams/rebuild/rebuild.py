"""Rebuilds everything from what came in from outside: the same records must give the same orders,
closes and event ids.

The inputs are copied under another prefix, and go through the rules one by one, in the order in
which they came. No provider is asked again: the answers to lookups are among the inputs.
"""

from collections.abc import Callable, Iterable, Mapping

from confluent_kafka import KafkaError, Message

from connectors.clock import micros_of
from connectors.kafka import sync_producer
from connectors.kafka.cluster import Cluster
from connectors.providers.base import Provider
from connectors.reasons import reason_of
from schemas import topics
from schemas.codec import Codecs
from streams.agents.stages import external_inputs
from streams.domain.polling import SECOND, Intervals
from streams.domain.rules import ProviderRules
from streams.engine.batch import Output
from streams.rebuild.history import History, Partition
from streams.rebuild.in_memory import InMemoryPipeline, Record

# Lookups would be sent to the providers again.
_NOT_WRITTEN = frozenset({topics.LOOKUPS.name})
_FLUSH_SECONDS = 60.0

Advance = Callable[[int], None]


class NotWritten(Exception):
    """Kafka did not acknowledge every record; the message gives the reason."""


class Rebuild:
    """Rebuilds the inputs of `source` under the prefix of `target`, whose topics are empty."""

    def __init__(
        self,
        source: Cluster,
        target: Cluster,
        codecs: Codecs,
        providers: Mapping[str, Provider],
        rules: Mapping[str, ProviderRules],
        intervals: Intervals,
    ) -> None:
        self._target = target
        # A registration of the same millisecond comes before the callbacks.
        names = [topic.name for topic in external_inputs(providers)]
        self._history = History(source, names)
        self._pipeline = InMemoryPipeline(codecs, providers, rules, intervals)
        self._failures: list[str] = []
        settings = {**sync_producer.settings(target), "linger.ms": 20}
        self._producer = target.clients.producer(settings)
        # Microseconds of the first record of each partition.
        self._first_at: dict[Partition, int] = {}

    @property
    def partitions(self) -> int:
        """The number of partitions of the source's topics."""
        return self._history.count_partitions(topics.LINKS.name)

    @property
    def total(self) -> int:
        """The number of input records, at most: some offsets may have no record."""
        return self._history.total

    def run(self, now: int, advance: Advance = lambda _: None) -> int | None:
        """Rebuild everything. `now` (microseconds) is the end of the history.

        Return the time since when all inputs are still kept (microseconds), or None if none were
        deleted. Raises NotWritten, KafkaException.
        """
        ticked_at = 0
        for record in self._history.read():
            at = min(micros_of(record.at), now)
            self._first_at.setdefault((record.topic_name, record.partition_number), at)
            self._copy(record)
            if at >= ticked_at + SECOND:
                ticked_at = at
                self._write(self._pipeline.tick(at))
            self._write(self._pipeline.process(record))
            advance(1)
        self._write(self._pipeline.tick(max(now, ticked_at)))
        self._write(self._pipeline.rows())
        if self._producer.flush(_FLUSH_SECONDS) or self._failures:
            reason = ", ".join(self._failures[:3]) or "no answer"
            raise NotWritten(f"Kafka did not take all records: {reason}")
        return self._kept_since(now)

    def _kept_since(self, now: int) -> int | None:
        # The compacted topic `links` keeps the last registration of each link.
        truncated = [p for p in self._history.truncated if p[0] != topics.LINKS.name]
        return max((self._first_at.get(p, now) for p in truncated), default=None)

    def _copy(self, record: Record) -> None:
        output = Output(record.topic_name, record.key_bytes, record.value_bytes, record.header_list)
        self._produce(output, record.partition_number, record.at)

    def _write(self, outputs: Iterable[Output]) -> None:
        for output in outputs:
            if output.topic not in _NOT_WRITTEN:
                self._produce(output)

    def _produce(self, output: Output, partition: int = -1, at: int = 0) -> None:
        sync_producer.produce(
            self._producer,
            self._target.topic(output.topic),
            output.value,
            output.key,
            partition=partition,
            on_delivery=self._delivered,
            timestamp=at,
            headers=list(output.headers or []),
        )
        self._producer.poll(0)

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._failures.append(f"{message.topic()}: {reason_of(error)}")
