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
    """By the names of dead letters: the latest replay, and who has set it aside."""

    replayed: dict[str, Replay]
    aside: dict[str, Mark]

    def is_open(self, letter: Letter) -> bool:
        """Whether it still waits for somebody."""
        return letter.name not in self.replayed and letter.name not in self.aside


def read(cluster: Cluster) -> Dealt:
    """All that is still known. Raises KafkaException."""
    return told(reading.replays(cluster), reading.notices(cluster))


def told(replays: Iterable[Replay], notices: Iterable[Notice]) -> Dealt:
    """Of several marks the latest counts, in whatever order they come; a replay takes back those
    before it.
    """
    replayed = {replay["letter"]: replay for replay in replays}
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
