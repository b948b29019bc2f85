"""Stand-ins for what is outside the units: Kafka's end of a publish, a record as a consumer
hands it over.
"""

import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from aiokafka import ConsumerRecord

from connectors.intake import Taken
from connectors.progress import Progress
from connectors.publish import Headers, Unavailable
from schemas import codec
from tests.waiting import PATIENCE, until


@dataclass
class Published:
    topic: str
    key: bytes | None
    value: bytes | None
    headers: dict[str, bytes]


@dataclass
class Shelf:
    """Takes records while `open`, as Kafka would."""

    open: bool = True
    records: list[Published] = field(default_factory=list)

    async def publish(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Headers
    ) -> None:
        if not self.open:
            raise Unavailable("closed")
        self.records.append(Published(topic, key, value, dict(headers)))

    def of(self, topic: str) -> list[Published]:
        return [record for record in self.records if record.topic == topic]


def taken(
    topic: str,
    key: bytes | None,
    value: bytes | None,
    progress: Progress | None = None,
    offset: int = 0,
) -> Taken:
    """A record at `offset`, noted in `progress`."""
    progress = progress or Progress()
    progress.take(offset)
    size = len(value or b"")
    record = ConsumerRecord(topic, 0, offset, 0, 0, key, value, None, len(key or b""), size, ())
    return Taken(record, progress)


SOMEBODYS_ID = 41
# A record under an id that nobody knows.
UNKNOWN = b"\0\0\0\0\7junk"


@contextmanager
def slow_registry(text: str) -> Iterator[Callable[[], Awaitable[None]]]:
    """Somebody who knows what `SOMEBODYS_ID` stands for, and tells it once the loop has gone on
    after it was asked. What is given waits for the question, and lets the answer go.
    """
    asked, free = threading.Event(), threading.Event()

    def tell(number: int) -> str | None:
        asked.set()
        assert free.wait(PATIENCE), "the loop did not go on"
        return text if number == SOMEBODYS_ID else None

    async def let_go() -> None:
        await until(asked.is_set, "the question")
        free.set()

    codec.ask(tell)
    try:
        yield let_go
    finally:
        codec.ask(None)


def somebodys(value: bytes) -> bytes:
    """The record as one writes it who has that id from a registry."""
    return b"\0" + SOMEBODYS_ID.to_bytes(4, "big") + value[5:]
