"""Stand-ins for what is outside the units: Kafka's end of a publish, a record as a consumer
hands it over.
"""

from dataclasses import dataclass, field

from aiokafka import ConsumerRecord

from connectors.intake import Taken
from connectors.progress import Progress
from connectors.publish import Headers, Unavailable


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
