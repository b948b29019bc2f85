"""A batch: the records that a stage consumed, and what its agents make of them."""

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from types import TracebackType
from typing import Any, NamedTuple

from confluent_kafka import Message

from connectors.kafka.partitioner import partition_of
from connectors.reasons import reason_of
from schemas.headers import Headers
from streams.engine.spec import StageSpec
from streams.engine.table import TablePartition

log = logging.getLogger(__name__)

# By the name of the step that keeps the table, and by partition.
Tables = Mapping[str, Mapping[int, TablePartition[Any]]]


class BatchFailed(Exception):
    """An agent failed on a whole batch, or was cancelled while it handled one."""


class Output(NamedTuple):
    """A record to produce. `topic` is without prefix. The key decides the partition."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers | None


class Fact(NamedTuple):
    """What a step handles: a consumed record, or a value that an earlier step handed on.

    `message` is the consumed record that it follows from. `value` is None for that record itself.
    """

    message: Message
    partition: int
    key: bytes | None
    value: Any = None
    trace: Headers | None = None


class Batch:
    """What the agents receive, one after another. `with batch:` reports the end of an agent's step
    to the stage.

    `tick` is the time of a batch for time-driven work (microseconds), or None. A batch with a tick
    has no records. All topics have `partitions` partitions.
    """

    def __init__(
        self,
        spec: StageSpec,
        messages: list[Message],
        tables: Tables,
        prefix: str,
        partitions: int,
        tick: int | None = None,
    ) -> None:
        self.stage = spec.name
        self.messages = messages
        self.tables = tables
        self.tick = tick
        self.finished: Future[None] = Future()
        self._spec = spec
        self._prefix = prefix
        self._partitions = partitions
        # Step and error of each record that failed after its first step, by its place.
        self._failures: dict[tuple[Any, ...], tuple[str, Exception]] = {}
        # Records with several facts, one of them failed: each fact goes through its topic now, so
        # that the failed one becomes a dead letter without its neighbours.
        self._apart: set[tuple[Any, ...]] = set()
        # Whether `put` checks each row: only once a row has turned out not to be writable.
        self._checks_rows = False
        self._start()

    def _start(self) -> None:
        """Begin the walk through the steps, without the records that have failed."""
        self.outputs: list[Output] = []
        self._on_commit: list[Callable[[], None]] = []
        self._undo: list[tuple[TablePartition[Any], bytes, Any]] = []
        self._handed_on: list[tuple[str, Fact]] = []
        # Records from which the first step made several facts.
        self._several: set[tuple[Any, ...]] = set()
        self._inboxes: dict[str, list[Fact]] = {step.name: [] for step in self._spec.steps}
        self._is_complete = True
        for message in self.messages:
            if self._failures and (failure := self._failures.get(_place(message))):
                self.dead_letter(message, *failure)
                continue
            key, step = message.key(), self._spec.step_of[self.topic(message)]
            # A rebuild has one partition, and records of many.
            partition = (message.partition() or 0) % self._partitions
            fact = Fact(message, partition, key if isinstance(key, bytes) else None)
            self._inboxes[step].append(fact)

    def walk(self, run_step: Callable[[str], None]) -> None:
        """Run the steps in order, and encode the rows.

        A record whose fact fails in a later step, or whose row cannot be written, makes the whole
        walk start again without it: nothing that follows from a dead letter is visible or counted.
        Facts of a record with several ones go through their topics then, where one fails alone.
        """
        while True:
            for step in self._spec.steps:
                run_step(step.name)
            if self._is_complete and self._encode_rows():
                return
            self.abort_rows()
            self._start()

    def _encode_rows(self) -> bool:
        """Encode the rows of all tables. Return False if the walk must find one that does not fit.

        Each row is encoded once a batch; only the second walk encodes it at each `put`.
        """
        try:
            sizes = [
                rows.encode_pending() for each in self.tables.values() for rows in each.values()
            ]
        except Exception:
            if self._checks_rows:
                raise
            sizes = [self._spec.output_bytes + 1]
        if self._checks_rows or max(sizes, default=0) <= self._spec.output_bytes:
            return True
        self._checks_rows = True
        return False

    def each(self, step: str, handle: Callable[["Batch", Fact], None]) -> None:
        """Handle every fact of a step.

        A consumed record that raises becomes a dead letter. Its outputs and writes are undone, and
        the other records go on. What a handler hands on is visible to the next step after the
        handler has returned.
        """
        is_first = step == self._spec.steps[0].name
        for fact in self._inboxes[step]:
            outputs, calls = len(self.outputs), len(self._on_commit)
            self._undo.clear()
            self._handed_on.clear()
            try:
                handle(self, fact)
            except self._spec.retry_on:
                raise
            except Exception as error:  # no record may stop the others
                del self.outputs[outputs:], self._on_commit[calls:]
                for table, key, replaced in reversed(self._undo):
                    table.undo(key, replaced)
                self._fail(fact, step, error)
            else:
                if is_first and self._has_several_facts(self.outputs[outputs:]):
                    self._several.add(_place(fact.message))
                for next_step, handed_on in self._handed_on:
                    self._inboxes[next_step].append(handed_on)

    def _has_several_facts(self, outputs: list[Output]) -> bool:
        """Return whether a record with these outputs made several facts for later steps."""
        if len(self._handed_on) + len(outputs) < 2:
            return False
        steps = self._spec.step_of
        return len(self._handed_on) + sum(output.topic in steps for output in outputs) > 1

    def _fail(self, fact: Fact, step: str, error: Exception) -> None:
        if fact.value is None:
            self.dead_letter(fact.message, step, error)
            return
        place = _place(fact.message)
        if place in self._several:
            self._apart.add(place)
        else:
            self._failures[place] = step, error
        self._is_complete = False

    def hand_on(self, fact: Fact, step: str, key: bytes, value: Any, trace: Headers | None) -> bool:
        """Hand a value that follows from `fact` to a later step, if its key belongs to the same
        partition, and no other value of the record failed. Otherwise return False: the value must
        go through a topic.

        Only that partition's tables change with a record: a worker that takes it over waits for the
        transaction of its offsets, and not for transactions of other partitions (KIP-447).
        """
        if partition_of(key, self._partitions) != fact.partition:
            return False
        if self._apart and _place(fact.message) in self._apart:
            return False
        self._handed_on.append((step, Fact(fact.message, fact.partition, key, value, trace)))
        return True

    def send(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Headers | None = None
    ) -> None:
        """Add a record to the transaction. `topic` is without prefix. Raises ValueError if it is
        too large.
        """
        self._check_size(topic, len(key or b"") + len(value or b""))
        self.outputs.append(Output(topic, key, value, headers))

    def put(self, step: str, partition: int, key: bytes, row: Any) -> None:
        """Write a row of the step's table. The transaction has the last row of each key.

        Raises ValueError if the row is found to be too large, and what its encoder raises.
        """
        table = self.tables[step][partition]
        if self._checks_rows:
            self._check_size(f"the table of {step}", table.size(key, row))
        self._undo.append((table, key, table.put(key, row)))

    def _check_size(self, target: str, size: int) -> None:
        limit = self._spec.output_bytes
        if size > limit:
            raise ValueError(f"{target} would get a record of {size} bytes; the limit is {limit}")

    def is_to_commit(self) -> bool:
        """Return whether the batch has anything: most ticks have nothing."""
        tables = (rows for each in self.tables.values() for rows in each.values())
        return bool(self.messages or self.outputs or any(rows.changes() for rows in tables))

    def abort_rows(self) -> None:
        """Drop the pending rows of all tables."""
        for partitions in self.tables.values():
            for table in partitions.values():
                table.abort()

    def on_commit(self, call: Callable[[], None]) -> None:
        """Call `call` after the transaction has committed. Metrics count only committed records."""
        self._on_commit.append(call)

    def committed(self) -> None:
        """Make the `on_commit` calls: the stage's transaction has committed."""
        for call in self._on_commit:
            call()

    def dead_letter(self, message: Message, step: str, error: Exception) -> None:
        """Send the record to the dead-letter topic, with `error` as the reason."""
        self._spec.dead_letter(self, message, step, error)

    def topic(self, message: Message) -> str:
        """Return the record's topic, without prefix."""
        return (message.topic() or "")[len(self._prefix) :]

    def origin(self, message: Message) -> str:
        """Return the record's topic/partition/offset, without prefix."""
        return f"{self.topic(message)}/{message.partition()}/{message.offset()}"

    def __enter__(self) -> "Batch":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        """Report the end to the stage, which handles an error in place of the agent."""
        if error is None:
            self.finished.set_result(None)
            return False
        log.error("%s: batch failed", self.stage, exc_info=error)
        self.finished.set_exception(BatchFailed(f"{self.stage}: {reason_of(error)}"))
        return isinstance(error, Exception)


def _place(message: Message) -> tuple[Any, ...]:
    return message.topic(), message.partition(), message.offset()
