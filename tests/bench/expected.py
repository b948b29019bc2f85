"""What must come out, by the pure rules alone, and how what came out is compared with it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from schemas import topics
from schemas.codec import LINK_STATUS
from streams.engine.batch import Output
from tests.bench.job import INPUTS, Hand, Taken, handlers
from tests.bench.workload import RawRecord

# Of a row these two depend on the order of arrival.
_ARRIVAL = ("version", "changed_at")


@dataclass
class Expected:
    """The table by key, and the ids of the downstream events."""

    rows: dict[bytes, Any] = field(default_factory=dict)
    closes: set[str] = field(default_factory=set)
    settlements: set[str] = field(default_factory=set)
    dead_letters: int = 0

    def __str__(self) -> str:
        return (
            f"{len(self.rows):,} links, {len(self.closes):,} closes, "
            f"{len(self.settlements):,} settlements, {self.dead_letters:,} dead letters"
        )


def comparable(value: bytes) -> dict[str, Any]:
    """An encoded row of `link-status` without what depends on the order of arrival."""
    row: dict[str, Any] = {**LINK_STATUS.decode(value)}
    for name in _ARRIVAL:
        del row[name]
    return row


def event_id(headers: Any) -> str:
    return next((value.decode() for name, value in headers or () if name == "event-id"), "")


class _Everywhere(dict[int, Any]):
    """One table whatever the partition: the rules do not know of partitions."""

    def __init__(self, table: dict[bytes, Any]) -> None:
        super().__init__()
        self.table = table

    def __missing__(self, partition: int) -> dict[bytes, Any]:
        return self.table


class _Rules:
    """The whole job in memory, one record after the other."""

    def __init__(self) -> None:
        self._handlers = handlers()
        self._stage_of = {topic.name: stage for stage, ins in INPUTS.items() for topic in ins}
        self.tables: dict[str, dict[bytes, Any]] = {stage: {} for stage in INPUTS}
        self._offset = 0

    def outputs(self, topic: str, key: bytes | None, value: Any, headers: Any) -> Iterator[Output]:
        """What comes of a record, directly and through the stages after."""
        stage = self._stage_of.get(topic)
        if stage is None:
            return
        self._offset += 1
        table = self.tables[stage]
        hand = Hand(stage, "", _Everywhere(table))
        taken = Taken(topic, 0, self._offset, 0, key, value, headers or [])
        hand.do(self._handlers[stage], taken)
        for (_, row_key), row in hand.rows.items():
            table[row_key] = row
        for output in hand.outputs:
            yield output
            yield from self.outputs(*output)


def expect(workload: list[RawRecord]) -> Expected:
    """Applies the rules to the workload."""
    rules, expected = _Rules(), Expected()
    for record in workload:
        for output in rules.outputs(*record):
            if output.topic == topics.ORDER_CLOSE.name:
                expected.closes.add(event_id(output.headers))
            elif output.topic == topics.SETTLEMENT.name:
                expected.settlements.add(event_id(output.headers))
            elif output.topic == topics.DEAD_LETTERS.name:
                expected.dead_letters += 1
    rows = rules.tables["track"]
    expected.rows = {key: comparable(LINK_STATUS.encode(row)) for key, row in rows.items()}
    return expected


__all__ = ["Expected", "comparable", "event_id", "expect"]
