"""Keeps child processes running, and ends them in order."""

import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from streams import artifacts, child

_FIRST_DELAY = 0.5
_LONGEST_DELAY = 30.0
# A log beyond this size is put aside at the next start; one old log is kept.
_LARGEST_LOG = 5 << 20
# A process that ran this long had started well: its next failure counts as a first one.
_STEADY_SECONDS = 60.0


@dataclass(slots=True)
class Child:
    """One process to keep running. Its `port` serves the probes."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    port: int
    log: Path
    process: subprocess.Popen[bytes] | None = None
    failures: int = 0
    started_at: float = 0.0
    start_at: float = field(default_factory=time.monotonic)

    def start(self) -> None:
        if self.log.exists() and self.log.stat().st_size > _LARGEST_LOG:
            self.log.replace(self.log.with_suffix(".old.log"))
        self.process = child.spawn(self.argv, self.log, self.env)
        self.started_at = time.monotonic()

    def delay(self, now: float) -> float:
        """Seconds to wait after one more end: doubling while it keeps ending soon."""
        steady = now - self.started_at > _STEADY_SECONDS
        self.failures = 1 if steady else self.failures + 1
        return min(_LONGEST_DELAY, _FIRST_DELAY * 2.0 ** (self.failures - 1))


class Supervisor:
    """Starts children, restarts with growing delay what ends, and stops all in a given order."""

    def __init__(self, children: Sequence[Child], say: artifacts.Say) -> None:
        self.children = children
        self._say = say

    def tend(self) -> None:
        """Starts what is due and notes what has ended. Call it often, from the main thread."""
        now = time.monotonic()
        for one in self.children:
            if one.process is None:
                if now >= one.start_at:
                    one.start()
            elif (code := one.process.poll()) is not None:
                wait = one.delay(now)
                one.process, one.start_at = None, now + wait
                self._say(f"{one.name} ended with {code}; again in {wait:.1f} s; see {one.log}")

    def stop(self, groups: Sequence[tuple[Sequence[str], float]]) -> list[str]:
        """Stops the named children group by group: SIGTERM, then SIGKILL after the group's seconds.

        What one group leaves of its time the next may use. Returns the names of the killed.
        """
        killed = []
        deadline = time.monotonic()
        for names, seconds in groups:
            group = [one for one in self.children if one.name in names and one.process]
            for one in group:
                assert one.process  # noqa: S101 (for the type checker)
                one.process.terminate()
            deadline += seconds
            killed += [one.name for one in group if not _ended(one, deadline)]
        return killed


def _ended(one: Child, deadline: float) -> bool:
    """Waits for the end of a child that was told to end; kills it at the deadline."""
    process, one.process = one.process, None
    if process is None:
        return True
    try:
        process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return False
    return True
