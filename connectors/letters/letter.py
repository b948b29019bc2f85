"""One dead letter, and which ones are meant. Pure: no Kafka, no clock."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

from schemas.topics import DEAD_LETTERS

# What dead-lettering added: not part of the record as received.
_ADDED = frozenset({"stage", "reason", "origin"})
# What a replay puts in place of what an earlier one said.
_OF_REPLAY = frozenset({"source", "replay-id", "replay-of"})
_CALLBACKS = "callbacks."


_LONGEST_REASON = 1000


def added(stage: str, reason: str, origin: str) -> list[tuple[str, bytes]]:
    """What dead-lettering adds to a record's headers. `origin` is topic/partition/offset, without
    the prefix.
    """
    return [
        ("stage", stage.encode()),
        ("reason", reason[:_LONGEST_REASON].encode(errors="replace")),
        ("origin", origin.encode()),
    ]


class Place(NamedTuple):
    """Where a dead letter stands in its topic; that is its id."""

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
    """The text names no place."""


def place(text: str) -> Place:
    """PARTITION/OFFSET as text. Raises BadPlace."""
    partition, _, offset = text.partition("/")
    if not all(p.isascii() and p.isdecimal() and len(p) < 19 for p in (partition, offset)):
        raise BadPlace(f"{text} is no PARTITION/OFFSET, such as 0/17")
    if int(partition) > _LAST_PARTITION:
        raise BadPlace(f"{text}: no topic has so many partitions")
    return Place(int(partition), int(offset))


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter as it stands on its topic; `at` in microseconds, UTC."""

    place: Place
    at: int
    key: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    body: bytes | None

    def header(self, name: str) -> str:
        """The last header of that name as text: what dead-lettering added stands at the end."""
        values = [value for known, value in self.headers if known == name and value is not None]
        return values[-1].decode(errors="replace") if values else ""

    @property
    def reason(self) -> str:
        return self.header("reason")

    @property
    def name(self) -> str:
        """topic/partition/offset."""
        return self.place.name

    @property
    def topic(self) -> str:
        """The topic it came from, without prefix; empty if it does not say."""
        return self.header("origin").rsplit("/", 2)[0]

    @property
    def provider(self) -> str:
        """By the topic it came from, else by its key; empty if neither says."""
        if self.topic.startswith(_CALLBACKS):
            return self.topic.removeprefix(_CALLBACKS)
        return (self.key or b"").partition(b":")[0].decode(errors="replace")

    @property
    def link_id(self) -> str:
        """What follows the provider in its key."""
        return (self.key or b"").partition(b":")[2].decode(errors="replace")

    def again(self, replay_id: str) -> list[tuple[str, bytes]]:
        """The headers it is published with once more: as received, but said to be a replay."""
        dropped = _ADDED | _OF_REPLAY
        return [
            *((name, value) for name, value in self.headers if name not in dropped),
            ("source", b"replay"),
            ("replay-of", self.name.encode()),
            ("replay-id", replay_id.encode()),
        ]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which dead letters are meant; what is empty does not narrow. Times in microseconds, UTC:
    from `since` on, before `until`. `reason` is a part of the reason, in any case.
    """

    places: Collection[Place] = ()
    reason: str = ""
    stage: str = ""
    provider: str = ""
    link_id: str = ""
    since: int | None = None
    until: int | None = None

    def includes(self, letter: Letter) -> bool:
        """Whether the letter is one of them."""
        return (
            (not self.places or letter.place in self.places)
            and self.reason.casefold() in letter.reason.casefold()
            and self.stage in ("", letter.header("stage"))
            and self.provider in ("", letter.provider)
            and self.link_id in ("", letter.link_id)
            and (self.since is None or letter.at >= self.since)
            and (self.until is None or letter.at < self.until)
        )
