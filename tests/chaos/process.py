"""A process of the system under test."""

import os
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.disk import limit_files
from tests.chaos.schedule import EXTRA_WORKER, WORKERS
from tests.support.processes import PORT, is_ready, spawn

_COMMANDS = {"edge": "receive"} | dict.fromkeys((*WORKERS, EXTRA_WORKER), "work")


@dataclass(slots=True)
class Process:
    """`start_at` is the time of the next start (monotonic), None while none is planned.
    `stopping_since` is the time of its stop signal. It starts again `restart_after` seconds after
    its end, or not at all if that is None.
    """

    name: str
    env: Mapping[str, str]
    log: Path
    start_at: float | None = None
    child: subprocess.Popen[bytes] | None = None
    stopping_since: float | None = None
    restart_after: float | None = 0.0
    suspended: bool = False

    def start(self) -> None:
        self.child = spawn(_COMMANDS.get(self.name, self.name), self.log, self.env)
        self.start_at = self.stopping_since = None
        self.suspended = False

    def runs(self) -> bool:
        """Whether it runs, does not stop, and is not suspended."""
        return self.child is not None and self.stopping_since is None and not self.suspended

    def is_alive(self) -> bool:
        return self.child is not None and self.child.poll() is None

    def fill_disk(self, full: bool) -> bool:
        """Let the process write to no file, or to any. Return False if it does not run."""
        if self.child is None or not self.is_alive():
            return False
        limit_files(self.child.pid, full)
        return True

    def send(self, sign: signal.Signals) -> None:
        """Send a signal to the process and its children, if it runs."""
        if self.child is not None and self.is_alive():
            os.killpg(self.child.pid, sign)

    def is_ready(self) -> bool:
        return is_ready(int(self.env[PORT]))
