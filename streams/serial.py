"""The stages without a cluster: one record after the other, each with all that follows from it.

The agents and their rules are those of `work`; only what lies between them is memory instead of
Kafka. So what comes out depends on what goes in and its order, and on nothing else.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from confluent_kafka import Message

from connectors.provider import Provider
from schemas import topics
from schemas.topics import Topic
from streams.agents.join import Join
from streams.agents.normalize import Normalize
from streams.agents.orders import Orders
from streams.agents.polling import Poller
from streams.agents.track import Track
from streams.domain.polling import Intervals
from streams.domain.rules import ProviderRules
from streams.engine.batch import Batch, Headers, Output
from streams.engine.table import Partition

# All rows of a stage are in one partition: nothing here is spread over workers.
_ONLY = 0
# The topics that the stages' tables are.
TABLES: Mapping[str, Topic[Any]] = {
    "join": topics.PAYMENTS,
    "track": topics.LINK_STATUS,
    "orders": topics.ORDERS,
}
_INNER = {
    topics.PAYMENT_EVENTS.name: "join",
    topics.LINK_EVENTS.name: "track",
    topics.ORDER_EVENTS.name: "orders",
}


@dataclass(frozen=True, slots=True)
class Record:
    """A record as agents see it: what they ask of a confluent_kafka.Message. `topic_name` is
    without prefix; `at` in milliseconds.
    """

    topic_name: str
    key_bytes: bytes | None
    value_bytes: bytes | None
    header_list: Headers
    at: int
    number: int = _ONLY
    place: int = 0

    def topic(self) -> str:
        return self.topic_name

    def partition(self) -> int:
        return self.number

    def offset(self) -> int:
        return self.place

    def key(self) -> bytes | None:
        return self.key_bytes

    def value(self) -> bytes | None:
        return self.value_bytes

    def headers(self) -> Headers:
        return self.header_list

    def timestamp(self) -> tuple[int, int]:
        return 1, self.at


class Serial:
    """The stages of `work`, with their tables in memory."""

    def __init__(
        self,
        providers: Mapping[str, Provider],
        rules: Mapping[str, ProviderRules],
        intervals: Intervals,
    ) -> None:
        self.tables: dict[str, Partition[Any]] = {
            stage: Partition(topic.codec) for stage, topic in TABLES.items() if topic.codec
        }
        self._track = Track(rules, Poller(rules, intervals))
        self._agents: dict[str, Callable[[Batch, Message], None]] = {
            "normalize": Normalize(providers),
            "join": Join(),
            "track": self._track,
            "orders": Orders(rules),
        }

    def take(self, record: Record) -> Iterator[Output]:
        """What comes out of all stages for a record from outside."""
        return self._follow("normalize", [record])

    def tick(self, now: int) -> Iterator[Output]:
        """What comes out because it is `now` (microseconds)."""
        batch = self._batch("track", [], now)
        self._track.tick(batch, now)
        self._commit("track")
        for output in batch.outputs:
            yield output
            yield from self._followed(output, now // 1000)

    def rows(self, stage: str) -> Iterator[tuple[bytes, bytes]]:
        """Key and encoded row of everything in the stage's table."""
        table = self.tables[stage]
        for key in table.committed_keys():
            yield key, table.encoded(key) or b""

    def _follow(self, stage: str, records: list[Record]) -> Iterator[Output]:
        due = deque((stage, record) for record in records)
        while due:
            stage, record = due.popleft()
            batch = self._batch(stage, [record])
            batch.each(lambda message: self._agents[stage](batch, message))  # noqa: B023
            self._commit(stage)
            for output in batch.outputs:
                yield output
                if output.topic in _INNER:
                    due.append((_INNER[output.topic], _as_record(output, record.at)))

    def _followed(self, output: Output, at: int) -> Iterator[Output]:
        stage = _INNER.get(output.topic)
        return self._follow(stage, [_as_record(output, at)]) if stage else iter(())

    def _batch(self, stage: str, records: list[Record], tick: int | None = None) -> Batch:
        table = self.tables.get(stage)
        messages = [cast("Message", record) for record in records]
        return Batch(stage, messages, {} if table is None else {_ONLY: table}, "", tick)

    def _commit(self, stage: str) -> None:
        table = self.tables.get(stage)
        if table is not None:
            for _ in table.changes():
                pass  # encodes what is pending
            table.commit()


def _as_record(output: Output, at: int) -> Record:
    return Record(output.topic, output.key, output.value, output.headers or [], at)
