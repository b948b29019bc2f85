"""The outputs that the pure rules expect, and how to compare an engine with them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from schemas import topics
from schemas.codec import LINK_STATUS
from streams.engine.batch import Output
from tests.bench.job import INPUTS, AnyPartition, FakeBatch, Record, handlers
from tests.bench.workload import RawRecord
from tests.support.codecs import CODECS

# These fields of a row depend on the order of arrival.
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
    """Decode a row of `link-status`, without the fields that depend on the order of arrival."""
    record: Any = CODECS.decode(LINK_STATUS, value)
    row: dict[str, Any] = {**record}
    for name in _ARRIVAL:
        del row[name]
    return row


def event_id(headers: Any) -> str:
    return next((value.decode() for name, value in headers or () if name == "event-id"), "")


class _Rules:
    """The whole job in memory, record by record."""

    def __init__(self) -> None:
        self._handlers = handlers()
        self._stage_of = {topic.name: stage for stage, ins in INPUTS.items() for topic in ins}
        self.tables: dict[str, dict[bytes, Any]] = {stage: {} for stage in INPUTS}
        self._offset = 0

    def outputs(self, topic: str, key: bytes | None, value: Any, headers: Any) -> Iterator[Output]:
        """Yield the outputs of a record in this and all later stages."""
        stage = self._stage_of.get(topic)
        if stage is None:
            return
        self._offset += 1
        table = self.tables[stage]
        batch = FakeBatch(stage, "", AnyPartition(table))
        record = Record(topic, 0, self._offset, 0, key, value, headers or [])
        batch.handle(self._handlers[stage], record)
        for (_, row_key), row in batch.rows.items():
            table[row_key] = row
        for output in batch.outputs:
            yield output
            yield from self.outputs(*output)


def expect(workload: list[RawRecord]) -> Expected:
    """Apply the rules to the workload."""
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
    expected.rows = {key: comparable(CODECS.encode(LINK_STATUS, row)) for key, row in rows.items()}
    return expected
