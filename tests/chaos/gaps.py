"""How long a partition stood still after a fault, as a reader of its committed records sees it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tests.chaos.schedule import Fault

# Topic and number.
Partition = tuple[str, int]
# The longest standstill of each partition, by kind of fault.
Standstills = dict[str, dict[str, float]]

# A record that comes so shortly before a fault may be the last one before its standstill.
_SLACK_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class InjectedFault:
    """A fault that happened `at` seconds since the epoch."""

    at: float
    fault: Fault


@dataclass(frozen=True, slots=True)
class Gap:
    """The longest silence of a partition that began with a fault."""

    fault: Fault
    partition: str
    seconds: float


def gaps(
    arrivals: Mapping[Partition, Sequence[float]],
    faults: Sequence[InjectedFault],
    first_at: float,
    last_at: float,
) -> Iterator[Gap]:
    """Yield each fault's longest silence in each partition. A silence counts for the faults that it
    begins with: before the next fault, or while the fault lasts.

    Silence before the first callback, or after the last one, is no gap.
    """
    next_at = [*(fault.at for fault in faults[1:]), last_at]
    for (topic, number), times in arrivals.items():
        within = (time for time in times if first_at < time < last_at)
        silences = [*pairwise([first_at, *sorted(within), last_at])]
        for injected, after in zip(faults, next_at, strict=True):
            end = max(after, injected.at + injected.fault.seconds)
            seconds = _longest(injected.at, end, silences)
            yield Gap(injected.fault, f"{topic}/{number}", round(seconds, 2))


def _longest(at: float, end: float, silences: Iterable[tuple[float, float]]) -> float:
    return max(
        (
            last - max(first, at)
            for first, last in silences
            if at - _SLACK_SECONDS <= first < end and last > at
        ),
        default=0.0,
    )


def by_kind(found: Iterable[Gap]) -> Standstills:
    longest: Standstills = {}
    for gap in found:
        partitions = longest.setdefault(gap.fault.kind, {})
        partitions[gap.partition] = max(gap.seconds, partitions.get(gap.partition, 0.0))
    return longest


def merged(several: Iterable[Standstills]) -> Standstills:
    """Return the longest standstills of several seeds."""
    longest: Standstills = {}
    for standstills in several:
        for kind, partitions in standstills.items():
            known = longest.setdefault(kind, {})
            for partition, seconds in partitions.items():
                known[partition] = max(seconds, known.get(partition, 0.0))
    return longest


def table(standstills: Standstills, counts: Mapping[str, int]) -> Iterator[str]:
    """Yield a line for each kind of fault: how many, and the standstill of the partition that
    stood still for the longest time, and of the one in the middle.
    """
    yield "fault         number  longest  median  partition"
    for kind, partitions in sorted(standstills.items()):
        ordered = sorted(partitions.items(), key=lambda item: item[1])
        name, longest = ordered[-1]
        median = ordered[len(ordered) // 2][1]
        yield f"{kind:12} {counts[kind]:7} {longest:6.1f} s {median:5.1f} s  {name}"
