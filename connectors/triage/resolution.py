"""What people have done about dead letters: replayed them, or resolved them because no replay
will cure them.
"""

from collections.abc import Iterable
from typing import NamedTuple

from connectors.kafka.cluster import Cluster
from connectors.triage import audit, reader
from connectors.triage.audit import Mark
from connectors.triage.dead_letter import DeadLetter
from schemas.codec import Codecs
from schemas.records import Notice, Replay


class Resolutions(NamedTuple):
    """The latest replay and the mark of each resolved dead letter, by the name of its place.

    A recreated topic restarts its offsets: a replay or a mark that is older than the dead letter
    at its place does not apply to it.
    """

    replays: dict[str, Replay]
    marks: dict[str, Mark]

    def is_open(self, dead_letter: DeadLetter) -> bool:
        """Whether it still needs a person."""
        return not (self.replay_of(dead_letter) or self.mark_of(dead_letter))

    def replay_of(self, dead_letter: DeadLetter) -> Replay | None:
        """Its latest replay, if it was replayed."""
        replay = self.replays.get(dead_letter.place.name)
        return replay if replay and replay["at"] >= dead_letter.at else None

    def mark_of(self, dead_letter: DeadLetter) -> Mark | None:
        """Its mark, if it is resolved."""
        mark = self.marks.get(dead_letter.place.name)
        return mark if mark and mark.at >= dead_letter.at else None


def read(cluster: Cluster, codecs: Codecs) -> Resolutions:
    """Every replay and mark that Kafka still holds. Raises KafkaException."""
    return collect(reader.replays(cluster, codecs), reader.notices(cluster, codecs))


def collect(replays: Iterable[Replay], notices: Iterable[Notice]) -> Resolutions:
    """The latest mark of a dead letter counts, whatever the order of arrival; a later replay
    cancels it.
    """
    replayed: dict[str, Replay] = {}
    for replay in replays:
        name = replay["dead_letter"]
        if name not in replayed or replay["at"] > replayed[name]["at"]:
            replayed[name] = replay
    marks: dict[str, Mark] = {}
    for notice in notices:
        if place := audit.marked_dead_letter(notice):
            mark = audit.mark_of(notice)
            if place.name not in marks or mark.at > marks[place.name].at:
                marks[place.name] = mark
    resolved = {
        name: mark
        for name, mark in marks.items()
        if mark.resolved and not (name in replayed and replayed[name]["at"] > mark.at)
    }
    return Resolutions(replayed, resolved)


def mark_all(
    cluster: Cluster, codecs: Codecs, dead_letters: Iterable[DeadLetter], mark: Mark
) -> None:
    """Publish the mark for each dead letter. Raises NotAcknowledged, KafkaException."""
    audit.publish(cluster, codecs, (audit.dead_letter_marked(one, mark) for one in dead_letters))
