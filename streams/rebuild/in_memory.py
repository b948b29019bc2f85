"""The stage without a cluster: records one by one, each with everything that follows from it.

Agents, rules and the walk through them are those of `linkstatus work`. There is one partition, so
no value needs a topic: the result depends on the records and their order, and on nothing else.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import cast

from confluent_kafka import Message

from connectors.providers.base import Provider
from schemas.codec import Codecs
from schemas.headers import Headers
from streams.agents.stages import agents, stage_spec
from streams.domain.polling import Intervals
from streams.domain.rules import ProviderRules
from streams.engine.batch import Batch, Output
from streams.engine.table import TablePartition

# Each table has one partition.
_PARTITION = 0


@dataclass(frozen=True, slots=True)
class Record:
    """A record with the methods of `confluent_kafka.Message` that agents call.

    `topic_name` is without prefix; `at` in milliseconds.
    """

    topic_name: str
    key_bytes: bytes | None
    value_bytes: bytes | None
    header_list: Headers
    at: int
    partition_number: int = _PARTITION
    offset_number: int = 0

    def topic(self) -> str:
        return self.topic_name

    def partition(self) -> int:
        return self.partition_number

    def offset(self) -> int:
        return self.offset_number

    def key(self) -> bytes | None:
        return self.key_bytes

    def value(self) -> bytes | None:
        return self.value_bytes

    def headers(self) -> Headers:
        return self.header_list

    def timestamp(self) -> tuple[int, int]:
        return 1, self.at


class InMemoryPipeline:
    """The stage of `linkstatus work`, with its tables in memory."""

    def __init__(
        self,
        codecs: Codecs,
        providers: Mapping[str, Provider],
        rules: Mapping[str, ProviderRules],
        intervals: Intervals,
    ) -> None:
        self._spec = stage_spec(codecs, providers)
        self._agents = agents(codecs, providers, rules, intervals)
        self._tables = {
            step: {_PARTITION: TablePartition(table.encode, table.decode)}
            for step, table in self._spec.tables.items()
        }

    def process(self, record: Record) -> list[Output]:
        """Return everything that follows from a record."""
        return self._walk([record], None)

    def tick(self, now: int) -> list[Output]:
        """Return everything that is due at `now` (microseconds)."""
        return self._walk([], now)

    def rows(self) -> Iterator[Output]:
        """Yield every row of every table, as a record of the table's topic."""
        for step, table in self._spec.tables.items():
            rows = self._tables[step][_PARTITION]
            for key in rows.committed_keys():
                yield Output(table.topic, key, rows.encoded(key), None)

    def _walk(self, records: list[Record], tick: int | None) -> list[Output]:
        batch = Batch(self._spec, cast("list[Message]", records), self._tables, "", 1, tick)
        batch.walk(lambda step: self._agents[step].handle(batch))
        for partitions in self._tables.values():
            partitions[_PARTITION].commit()
        at = records[0].at if records else 0
        facts = [
            Record(
                output.topic, output.key, output.value or b"", output.headers or [], at, 0, number
            )
            for number, output in enumerate(batch.outputs)
            if output.topic in self._spec.step_of
        ]
        others = [one for one in batch.outputs if one.topic not in self._spec.step_of]
        # All partitions are one: facts go through a topic only after one of their record failed.
        return others + self._walk(facts, None) if facts else others
