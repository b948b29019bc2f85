"""How long a partition stood still after a fault, by the times of its records."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from connectors.kafka.cluster import Cluster
from schemas import topics
from tests.support.reading import read_all

# The stages normalize and track write them: a callback has its effect only when both work.
_WATCHED = (topics.LINK_EVENTS.name, topics.LINK_STATUS.name)


@dataclass(frozen=True, slots=True)
class InjectedFault:
    """A fault that happened `at` seconds since the epoch."""

    at: float
    text: str


def longest_gaps(
    cluster: Cluster, faults: Sequence[InjectedFault], first_at: float, last_at: float
) -> list[float]:
    """Return for each fault the longest silence of a partition before the next fault's effect ends.

    Silence before the first callback, or after the last one, is no gap.
    """
    silences = [
        silence
        for times in _times_by_partition(cluster)
        for silence in pairwise(sorted([first_at, last_at, *_between(times, first_at, last_at)]))
    ]
    next_at = [*(fault.at for fault in faults[1:]), last_at]
    return [_longest(f.at, after, silences) for f, after in zip(faults, next_at, strict=True)]


def _between(times: Iterable[float], first: float, last: float) -> Iterable[float]:
    return (time for time in times if first < time < last)


def _longest(at: float, next_at: float, silences: Iterable[tuple[float, float]]) -> float:
    return max(
        (last - max(first, at) for first, last in silences if first < next_at and last > at),
        default=0.0,
    )


def _times_by_partition(cluster: Cluster) -> Iterable[list[float]]:
    times: dict[tuple[str, int | None], list[float]] = defaultdict(list)
    for topic in _WATCHED:
        for message in read_all(cluster, topic):
            times[topic, message.partition()].append(message.timestamp()[1] / 1000)
    return times.values()
