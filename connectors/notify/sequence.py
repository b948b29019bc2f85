"""Which jobs may run now: of those that share a key, one after the other. Pure."""

from collections import deque
from collections.abc import Hashable, Iterable, Iterator
from typing import Generic, Protocol, TypeVar


class Keyed(Hashable, Protocol):
    """A job of a sequence."""

    @property
    def keys(self) -> tuple[str, ...]:
        """It comes after the earlier jobs with any of these."""

    @property
    def live(self) -> bool:
        """Whether the job is still needed."""


J = TypeVar("J", bound=Keyed)


class Sequence(Generic[J]):
    """Jobs in the order of their arrival, for each key."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[J]] = {}
        self._jobs: dict[J, None] = {}

    def __len__(self) -> int:
        return len(self._jobs)

    def __iter__(self) -> Iterator[J]:
        return iter(self._jobs)

    def add(self, job: J) -> list[J]:
        """Add a job. Return the jobs that may run now and could not before: this one, and those
        that came after one that is no longer needed.
        """
        before = {one for key in job.keys for one in self._waiting.get(key, ())}
        ready = self.remove(*(one for one in before if not one.live))
        self._jobs[job] = None
        for key in job.keys:
            self._waiting.setdefault(key, deque()).append(job)
        return [*ready, *self._first([job])]

    def remove(self, *jobs: J) -> list[J]:
        """Remove jobs, if they are there. Return those that may run now and could not before."""
        candidates: dict[J, None] = {}
        for job in jobs:
            if job in self._jobs:
                del self._jobs[job]
                candidates |= dict.fromkeys(self._followers(job))
        return self._first(candidates)

    def _followers(self, job: J) -> Iterator[J]:
        """Remove the job from the lines of its keys; yield who is first now where it was first."""
        for key in job.keys:
            line = self._waiting[key]
            was_first = line[0] is job
            line.remove(job)
            if not line:
                del self._waiting[key]
            elif was_first:
                yield line[0]

    def _first(self, jobs: Iterable[J]) -> list[J]:
        return [
            job
            for job in jobs
            if job in self._jobs and all(self._waiting[key][0] is job for key in job.keys)
        ]
