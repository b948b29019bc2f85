"""Keep child processes running, and stop them."""

import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from connectors.http.server import Address
from streams.local import kafka_jars, subprocesses

# How long children may take to end after a signal.
STOP_SECONDS = 6.0
# How often to call `tend`.
TEND_SECONDS = 0.1
_FIRST_DELAY = 0.5
_LONGEST_DELAY = 30.0
# A log larger than this is renamed at the next start; one old log is kept.
_LARGEST_LOG = 5 << 20
# After a run of this length the next failure counts as a first one.
_STEADY_SECONDS = 60.0


@dataclass(slots=True)
class Child:
    """One process to keep running; it serves its probes at `address`. Without `log` its output is
    ours. It inherits the descriptors `files`.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    address: Address
    log: Path | None = None
    files: Sequence[int] = ()
    process: subprocess.Popen[bytes] | None = None
    # The ends in a row, each soon after its start, and the code of the last one.
    failures: int = 0
    code: int | None = None
    started_at: float = 0.0
    start_at: float = field(default_factory=time.monotonic)

    def start(self) -> None:
        if self.log and self.log.exists() and self.log.stat().st_size > _LARGEST_LOG:
            self.log.replace(self.log.with_suffix(".old.log"))
        self.process = subprocesses.spawn(self.argv, self.log, self.env, self.files)
        self.started_at = time.monotonic()

    def runs(self) -> bool:
        """Return whether the process runs; another program may answer at its address."""
        return self.process is not None and self.process.poll() is None

    def delay(self, now: float) -> float:
        """Seconds until the next start: they double while the process keeps ending early."""
        steady = now - self.started_at > _STEADY_SECONDS
        self.failures = 1 if steady else self.failures + 1
        return min(_LONGEST_DELAY, _FIRST_DELAY * 2.0 ** (self.failures - 1))


class Supervisor:
    """Starts children, restarts a child that ends after a growing delay, and stops all."""

    def __init__(self, children: Sequence[Child], say: kafka_jars.Say) -> None:
        self.children = children
        self._say = say

    def tend(self) -> None:
        """Start the children that are due, notice those that ended. Call it often, from the main
        thread.
        """
        now = time.monotonic()
        for child in self.children:
            if child.process is None:
                if now >= child.start_at:
                    child.start()
            elif (code := child.process.poll()) is not None:
                delay = child.delay(now)
                child.process, child.code, child.start_at = None, code, now + delay
                where = f"; see {child.log}" if child.log else ""
                self._say(f"{child.name} ended with {code}; restart in {delay:.1f} s{where}")

    def stop(self, seconds: float) -> list[str]:
        """Stop all children at once: SIGTERM, then SIGKILL after `seconds`.

        None needs another one in order to end well, and one after another their times would add up.
        Returns the names of the killed children.
        """
        for child in self.children:
            if child.process:
                child.process.terminate()
        deadline = time.monotonic() + seconds
        return [child.name for child in self.children if not _ended(child, deadline)]


def _ended(child: Child, deadline: float) -> bool:
    """Wait for the end of a child after its SIGTERM; kill it at the deadline. True if it ended by
    itself.
    """
    process, child.process = child.process, None
    if process is None:
        return True
    try:
        process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return False
    return True
