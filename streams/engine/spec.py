"""What describes a stage: the engine itself knows no topic and no schema of this project."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from confluent_kafka import Message

from schemas import limits

if TYPE_CHECKING:
    from streams.engine.batch import Batch


@dataclass(frozen=True, slots=True)
class TableSpec:
    """The compacted topic that is a step's table, and the format of its rows."""

    topic: str
    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Any]


@dataclass(frozen=True, slots=True)
class Step:
    """One agent of a stage: the topics that it consumes, and the table that it keeps."""

    name: str
    inputs: tuple[str, ...] = ()
    table: TableSpec | None = None


@dataclass(frozen=True)
class StageSpec:
    """A stage of agents that share each batch and its transaction. Topics are without prefix.

    All inputs and tables are keyed topics with the same number of partitions. A batch passes the
    steps in order.
    """

    name: str
    steps: tuple[Step, ...]
    # Adds the dead letter of a record to the batch; the text names the step that failed.
    dead_letter: Callable[["Batch", Message, str, Exception], None]
    # Runs before the agents, and in the stage's thread, so it may block.
    prepare: Callable[["Batch"], None] = lambda batch: None
    # A record that raises one of these is no dead letter: the stage tries its batch again.
    retry_on: tuple[type[Exception], ...] = ()
    # Inputs whose backlog is consumed before anything from the other inputs.
    priority: tuple[str, ...] = ()
    batch_size: int = 1000
    # The most bytes of key and value of an output or a row.
    output_bytes: int = limits.OUTPUT_BYTES

    @property
    def group(self) -> str:
        """The consumer group, without prefix."""
        return f"linkstatus.{self.name}"

    @cached_property
    def step_of(self) -> Mapping[str, str]:
        """The name of the step that consumes each input."""
        return {topic: step.name for step in self.steps for topic in step.inputs}

    @property
    def table_topics(self) -> tuple[str, ...]:
        """The topics of all tables."""
        return tuple(table.topic for table in self.tables.values())

    @cached_property
    def tables(self) -> Mapping[str, TableSpec]:
        """The table of each step that has one, by the step's name."""
        return {step.name: step.table for step in self.steps if step.table is not None}
