"""Fakes for Kafka's side of the units: a publisher, consumed records, a schema registry."""

import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from aiokafka import ConsumerRecord

from connectors.kafka.offset_tracker import OffsetTracker
from connectors.kafka.publisher import Unavailable
from connectors.kafka.task import Task
from schemas.codec import Codecs
from schemas.headers import Headers
from tests.support.waiting import PATIENCE, until


@dataclass
class Published:
    topic: str
    key: bytes | None
    value: bytes | None
    headers: dict[str, bytes]


@dataclass
class FakePublisher:
    """Keeps records while `open`; Kafka is away while it is not."""

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


def task(
    topic: str,
    key: bytes | None,
    value: bytes | None,
    tracker: OffsetTracker | None = None,
    offset: int = 0,
    headers: Sequence[tuple[str, bytes]] = (),
    at_ms: int = 0,
) -> Task:
    """Return the task of a record at `offset`, which `tracker` tracks."""
    tracker = tracker or OffsetTracker()
    tracker.start(offset)
    size = len(value or b"")
    record = ConsumerRecord(
        topic, 0, offset, at_ms, 0, key, value, None, len(key or b""), size, headers
    )
    return Task(record, tracker)


_FOREIGN_ID = 41
# A record with a schema id that the registry does not know.
UNKNOWN_SCHEMA = b"\0\0\0\0\7junk"


def slow_registry(text: str) -> tuple[Codecs, Callable[[], Awaitable[None]]]:
    """Return codecs that look up the id of `with_foreign_id`, with a lookup that ends only after
    the event loop has gone on, and a function that waits for the lookup and then lets it end.
    """
    started, free = threading.Event(), threading.Event()

    def find(number: int) -> str | None:
        started.set()
        assert free.wait(PATIENCE), "the event loop did not go on"
        return text if number == _FOREIGN_ID else None

    async def let_end() -> None:
        await until(started.is_set, "the lookup of the schema")
        free.set()

    return Codecs(find=find), let_end


def with_foreign_id(value: bytes) -> bytes:
    """Return the record as a writer with a schema registry of its own writes it."""
    return b"\0" + _FOREIGN_ID.to_bytes(4, "big") + value[5:]
