"""How long a partition stood still after a fault, by the times of its records."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from confluent_kafka import Message

from connectors.kafka import Cluster
from schemas import topics
from tests.reading import read_all

# Written by the stages normalize and track: both have to be back for a callback to have its effect.
_WATCHED = (topics.LINK_EVENTS.name, topics.LINK_STATUS.name)


@dataclass(frozen=True, slots=True)
class Struck:
    """A fault as it happened; `at` in seconds since the epoch."""

    at: float
    text: str


def longest_gaps(
    cluster: Cluster, faults: Sequence[Struck], began: float, ended: float
) -> list[float]:
    """For each fault, the longest silence of any partition between it and the next fault's end.

    Silences before traffic began or after it ended are no gaps.
    """
    times = [
        sorted([began, ended, *(t for t in partition if began < t < ended)])
        for topic in _WATCHED
        for partition in _by_partition(read_all(cluster, topic)).values()
    ]
    silences = [pair for partition in times for pair in pairwise(partition)]
    return [_after(fault.at, following, silences) for fault, following in _followed(faults, ended)]


def _followed(faults: Sequence[Struck], ended: float) -> Iterable[tuple[Struck, float]]:
    return zip(faults, [*(fault.at for fault in faults[1:]), ended], strict=True)


def _after(at: float, following: float, silences: Iterable[tuple[float, float]]) -> float:
    return max(
        (last - max(first, at) for first, last in silences if first < following and last > at),
        default=0.0,
    )


def _by_partition(messages: Iterable[Message]) -> Mapping[int, list[float]]:
    found: dict[int, list[float]] = {}
    for message in messages:
        found.setdefault(message.partition() or 0, []).append(message.timestamp()[1] / 1000)
    return found
