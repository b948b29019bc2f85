"""A batch: the records a stage took, what the agent makes of them, and what becomes of both."""

import logging
from collections.abc import Callable
from concurrent.futures import Future
from types import TracebackType
from typing import Any, NamedTuple, cast

from confluent_kafka import Message

from connectors.letters.counted import DEAD
from connectors.letters.letter import added
from schemas.codec import SchemaAway
from schemas.topics import DEAD_LETTERS
from streams.engine.table import Partition

log = logging.getLogger(__name__)

Headers = list[tuple[str, bytes]]


def headers_of(message: Message) -> Headers:
    """The record's headers in their order; consumed records have them as pairs of text and
    bytes.
    """
    return cast("Headers", message.headers() or [])


class BatchFailed(Exception):
    """The agent failed on a batch as a whole, or was cancelled in the middle of it."""


class Output(NamedTuple):
    """A record to be produced. `topic` is without prefix; the partition follows from the key."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers | None


class Batch:
    """What an agent receives: `with batch:` reports its end to the stage, which then commits or
    aborts.

    `tick` is the time in microseconds when the batch was made for time-driven work, else None.
    """

    def __init__(
        self,
        stage: str,
        messages: list[Message],
        tables: dict[int, Partition[Any]],
        prefix: str,
        tick: int | None = None,
    ) -> None:
        self.stage = stage
        self.messages = messages
        self.tables = tables
        self.tick = tick
        self.outputs: list[Output] = []
        self.finished: Future[None] = Future()
        self._prefix = prefix
        self._undo: list[tuple[Partition[Any], bytes, Any]] = []
        self._counted: list[Callable[[], None]] = []

    def each(self, handle: Callable[[Message], None]) -> None:
        """Handles every record. One that raises is dead-lettered with its reason, what it had sent
        and written is taken back, and its neighbours go on.
        """
        for message in self.messages:
            mark, counted = len(self.outputs), len(self._counted)
            self._undo.clear()
            try:
                handle(message)
            except SchemaAway:  # says nothing of the record: the batch is tried again
                raise
            except Exception as error:  # whatever a record provokes, it stops nothing
                del self.outputs[mark:], self._counted[counted:]
                for table, key, replaced in reversed(self._undo):
                    table.undo(key, replaced)
                self.dead_letter(message, error)

    def send(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Headers | None = None
    ) -> None:
        """Adds a record to what the transaction will carry."""
        self.outputs.append(Output(topic, key, value, headers))

    def put(self, partition: int, key: bytes, row: Any) -> None:
        """Writes a row of the stage's table; sent to its topic once a batch, however often it
        changes.
        """
        table = self.tables[partition]
        self._undo.append((table, key, table.put(key, row)))

    def count(self, counting: Callable[[], None]) -> None:
        """Calls `counting` once the transaction has committed: what was aborted never counted."""
        self._counted.append(counting)

    def committed(self) -> None:
        """Told by the stage when the transaction has committed."""
        for counting in self._counted:
            counting()

    def dead_letter(self, message: Message, error: Exception) -> None:
        """Sends the record to `dead-letters` as received, with stage, reason and origin."""
        reason = str(error) or repr(error)
        self.count(DEAD.labels(self.stage, type(error).__name__).inc)
        headers = [*headers_of(message), *added(self.stage, reason, self.origin(message))]
        self.send(DEAD_LETTERS.name, message.key(), message.value(), headers)

    def topic(self, message: Message) -> str:
        """The record's topic, without the prefix."""
        return (message.topic() or "")[len(self._prefix) :]

    def origin(self, message: Message) -> str:
        """Where the record stands: topic/partition/offset, without the prefix."""
        return f"{self.topic(message)}/{message.partition()}/{message.offset()}"

    def __enter__(self) -> "Batch":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        """Tells the stage. An error in the batch as a whole is the stage's to handle, not the
        agent's.
        """
        if error is None:
            self.finished.set_result(None)
            return False
        log.error("%s: batch failed", self.stage, exc_info=error)
        self.finished.set_exception(BatchFailed(f"{self.stage}: {error!r}"))
        return isinstance(error, Exception)
