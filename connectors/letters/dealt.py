"""What people have done about dead letters: replayed them, or set them aside as junk that no replay
will cure.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from connectors import noting
from connectors.kafka import Cluster
from connectors.letters import reading
from connectors.letters.letter import Letter
from connectors.noting import Mark
from schemas.records import Notice, Replay

# The producer's queue holds more than these.
_AT_ONCE = 5_000


class Dealt(NamedTuple):
    """By the names of dead letters: the latest replay, and who has set it aside.

    A topic that was made anew counts its letters anew: what somebody said before a letter was there
    was said of another.
    """

    replayed: dict[str, Replay]
    aside: dict[str, Mark]

    def is_open(self, letter: Letter) -> bool:
        """Whether it still waits for somebody."""
        return not (self.replay_of(letter) or self.mark_of(letter))

    def replay_of(self, letter: Letter) -> Replay | None:
        """The latest one, if it was replayed."""
        found = self.replayed.get(letter.name)
        return found if found and found["at"] >= letter.at else None

    def mark_of(self, letter: Letter) -> Mark | None:
        """Who has set it aside, if somebody has."""
        found = self.aside.get(letter.name)
        return found if found and found.at >= letter.at else None


def read(cluster: Cluster) -> Dealt:
    """All that is still known. Raises KafkaException."""
    return told(reading.replays(cluster), reading.notices(cluster))


def told(replays: Iterable[Replay], notices: Iterable[Notice]) -> Dealt:
    """Of several marks the latest counts, in whatever order they come; a replay takes back those
    before it.
    """
    replayed: dict[str, Replay] = {}
    for replay in replays:
        other = replayed.setdefault(replay["letter"], replay)
        replayed[replay["letter"]] = replay if replay["at"] > other["at"] else other
    marks: dict[str, Mark] = {}
    for notice in notices:
        if (place := noting.marked_letter(notice)) is not None:
            mark = noting.mark_of(notice)
            known = marks.setdefault(place.name, mark)
            marks[place.name] = mark if mark.at > known.at else known
    aside = {
        name: mark
        for name, mark in marks.items()
        if mark.done and not (name in replayed and replayed[name]["at"] > mark.at)
    }
    return Dealt(replayed, aside)


def say(cluster: Cluster, letters: Sequence[Letter], mark: Mark) -> None:
    """Keeps the mark of each. Raises NotTaken, KafkaException."""
    for first in range(0, len(letters), _AT_ONCE):
        some = letters[first : first + _AT_ONCE]
        noting.keep(cluster, [noting.of_letter(one, mark) for one in some])
