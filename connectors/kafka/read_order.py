"""Which records of one topic come after those of another topic.

Kafka keeps an order within a partition only, and a transaction shows its records in one partition
earlier than in another. So a record waits until everything has been read that the other topic had,
in the partition of the same number, when the record arrived: its open transactions included.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition

from connectors.kafka.task import Task


class _Waiting(NamedTuple):
    """The tasks of one partition, and up to where another one must be read first."""

    partition: TopicPartition
    first: TopicPartition
    end: int
    tasks: list[Task]


class ReadOrder:
    """The tasks of `consumer` in the order to begin them. `after` names the topic that comes first,
    for each topic that has one. `ends` is a client that sees records of open transactions.
    """

    def __init__(
        self, after: Mapping[str, str], consumer: AIOKafkaConsumer, ends: AIOKafkaConsumer
    ) -> None:
        self._after = after
        self._consumer = consumer
        self._ends = ends
        self._waiting: list[_Waiting] = []

    def waiting(self) -> set[TopicPartition]:
        """Return the partitions whose records wait: read no more of them meanwhile."""
        return {one.partition for one in self._waiting}

    async def in_turn(self, tasks: Iterable[Task]) -> list[Task]:
        """Take the tasks that were just read. Return those whose turn it is, of all taken so far.
        Raises KafkaError.
        """
        now: list[Task] = []
        later: dict[TopicPartition, list[Task]] = {}
        for task in tasks:
            place = TopicPartition(task.record.topic, task.record.partition)
            (later.setdefault(place, []) if place.topic in self._after else now).append(task)
        for place, waiting in later.items():
            first = TopicPartition(self._after[place.topic], place.partition)
            end = (await self._ends.end_offsets([first]))[first]
            self._waiting.append(_Waiting(place, first, end, waiting))
        return now + await self._released()

    async def _released(self) -> list[Task]:
        released: list[Task] = []
        still: list[_Waiting] = []
        for one in self._waiting:
            # Tasks of a partition that has moved belong to another member now.
            if not one.tasks[0].live:
                continue
            if await self._consumer.position(one.first) >= one.end:
                released += one.tasks
            else:
                still.append(one)
        self._waiting = still
        return released
