"""A process of the system under test."""

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from streams import child
from tests.chaos.schedule import GUEST, WORKERS

_COMMANDS = {"edge": "receive"} | dict.fromkeys((*WORKERS, GUEST), "work")


@dataclass(slots=True)
class Member:
    """One process. `due` is when it is to be started (monotonic), None while it is not wanted."""

    name: str
    env: Mapping[str, str]
    port: int
    log: Path
    due: float | None = None
    process: subprocess.Popen[bytes] | None = None
    # When it was told to end and, then, whether it is to come back and after how many seconds.
    told_at: float | None = None
    away: float | None = 0.0

    def start(self) -> None:
        command = _COMMANDS.get(self.name, self.name)
        argv = [sys.executable, "-m", "streams.cli", command]
        self.process = child.spawn(argv, self.log, self.env)
        self.due = self.told_at = None

    def ready(self) -> bool:
        try:
            url = f"http://127.0.0.1:{self.port}/readyz"
            return httpx.get(url, timeout=2.0, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False
