"""One dead letter and its place in the topic. Pure: no Kafka, no clock."""

from dataclasses import dataclass
from typing import NamedTuple

from schemas.topics import DEAD_LETTERS, NOTIFY_REPLAYS

# Headers that dead-lettering adds: they were not part of the record as received.
_ADDED = frozenset({"stage", "reason", "origin", "cut"})
# Headers of an earlier replay, which the next replay replaces.
_OF_REPLAY = frozenset({"source", "replay-id", "replay-of"})
_CALLBACKS = "callbacks."
# The header of an event that an endpoint of `notify` did not accept: the endpoint's name.
ENDPOINT = "notify-endpoint"


class Place(NamedTuple):
    """Partition and offset of a dead letter: its id."""

    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.partition}/{self.offset}"

    @property
    def name(self) -> str:
        """topic/partition/offset."""
        return f"{DEAD_LETTERS.name}/{self}"


_LAST_PARTITION = 2**31 - 1


class BadPlace(ValueError):
    """The text is not a place."""


def parse_place(text: str) -> Place:
    """Parse PARTITION/OFFSET. Raises BadPlace."""
    partition, _, offset = text.partition("/")
    if not all(p.isascii() and p.isdecimal() and len(p) < 19 for p in (partition, offset)):
        raise BadPlace(f"{text} is not PARTITION/OFFSET, such as 0/17")
    if int(partition) > _LAST_PARTITION:
        raise BadPlace(f"{text}: partition numbers end at {_LAST_PARTITION}")
    return Place(int(partition), int(offset))


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A dead letter as it is on its topic; `at` in microseconds, UTC."""

    place: Place
    at: int
    key: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    body: bytes | None

    def header(self, name: str) -> str:
        """The last header of that name as text: dead-lettering adds its headers at the end."""
        values = [value for known, value in self.headers if known == name]
        return values[-1].decode(errors="replace") if values else ""

    @property
    def reason(self) -> str:
        return self.header("reason")

    @property
    def topic(self) -> str:
        """The topic it came from, without prefix; empty if it has no origin."""
        return self.header("origin").rsplit("/", 2)[0]

    @property
    def target(self) -> str:
        """The topic of its replay: the one it came from, or that of replays for one endpoint."""
        return NOTIFY_REPLAYS.name if self.topic and self.header(ENDPOINT) else self.topic

    @property
    def provider(self) -> str:
        """The provider, from the topic it came from or else from its key; empty if unknown."""
        if self.topic.startswith(_CALLBACKS):
            return self.topic.removeprefix(_CALLBACKS)
        return (self.key or b"").partition(b":")[0].decode(errors="replace")

    @property
    def link_id(self) -> str:
        """The part of its key after the provider."""
        return (self.key or b"").partition(b":")[2].decode(errors="replace")

    def replay_headers(self, replay_id: str) -> list[tuple[str, bytes]]:
        """The headers of its replay: those of the record as received, marked as a replay."""
        dropped = _ADDED | _OF_REPLAY
        return [
            *((name, value) for name, value in self.headers if name not in dropped),
            ("source", b"replay"),
            ("replay-of", self.place.name.encode()),
            ("replay-id", replay_id.encode()),
        ]
