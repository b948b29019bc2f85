"""The whole system as `make up` starts it, for tests: a port and a folder of its own."""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.waiting import PATIENCE

_READY_SECONDS = 200


class System:
    """`linkstatus up` on a data folder. What it prints is in `folder/up.out`."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self.data = folder / "data"
        # A prefix of its own: the cluster may be one that LINKSTATUS_BROKERS names.
        self.prefix = f"{uuid.uuid4().hex[:8]}."
        self._environment = {
            **os.environ,
            "LINKSTATUS_DATA_DIR": str(self.data),
            "LINKSTATUS_TOPIC_PREFIX": self.prefix,
            **environment,
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "System":
        """Returns once every process is ready."""
        folder = Path(self.folder)
        with (folder / "up.out").open("wb") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "streams.cli", "up", "--port", "0"],
                env=self._environment,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        self._await(lambda: "\npage " in self.output(), "the system to be ready", _READY_SECONDS)
        self.environment: dict[str, str] = json.loads((self.data / "up.json").read_text())[
            "environment"
        ]
        self.url = self.environment["LINKSTATUS_EDGE_URL"]
        self._await(self._is_ready, "every process to be ready", _READY_SECONDS)
        return self

    def _is_ready(self) -> bool:
        """After a while `up` says where it is without waiting for the rest."""
        probes = json.loads(self.environment["LINKSTATUS_BOARD__PROCESSES"]).values()
        try:
            return all(httpx.get(f"{one}/readyz", timeout=PATIENCE).is_success for one in probes)
        except httpx.TransportError:
            return False

    def output(self) -> str:
        return (self.folder / "up.out").read_text(errors="replace")

    def family(self) -> list[psutil.Process]:
        """The supervisor and everything it has started."""
        assert self._process
        parent = psutil.Process(self._process.pid)
        return [parent, *parent.children(recursive=True)]

    def stop(self, number: int = signal.SIGINT) -> float:
        """Ends it as Ctrl-C does; the seconds that took. Fails if a process is left."""
        assert self._process
        family = self.family()
        started = time.monotonic()
        self._process.send_signal(number)
        self._process.wait(PATIENCE)
        took = time.monotonic() - started
        _, left = psutil.wait_procs(family, timeout=10)
        for process in left:
            process.kill()
        assert not left, f"left behind: {left}"
        return took

    @property
    def environment_of_commands(self) -> dict[str, str]:
        """What a command in another terminal is started with."""
        return self._environment

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command of the command line, in another terminal."""
        return subprocess.run(
            [sys.executable, "-m", "streams.cli", *arguments],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def get(self, path: str) -> Any:
        """The board's answer, or None for 404."""
        answer = httpx.get(self.url + path, timeout=PATIENCE)
        if answer.status_code == 404:
            return None
        answer.raise_for_status()
        return answer.json()

    def see(self, path: str, condition: Callable[[Any], bool], seconds: float = PATIENCE) -> Any:
        """What the board answers once `condition` holds of it."""
        seen: list[Any] = [None]

        def holds() -> bool:
            seen[0] = self.get(path)
            return seen[0] is not None and condition(seen[0])

        self._await(holds, f"{path} as wanted, last seen {seen}", seconds)
        return seen[0]

    def _await(self, condition: Callable[[], bool], what: str, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert self._process
            assert self._process.poll() is None, f"ended while waiting for {what}:\n{self.output()}"
            assert time.monotonic() < deadline, f"in vain for {what}\n{self.output()[-3000:]}"
            time.sleep(0.05)
