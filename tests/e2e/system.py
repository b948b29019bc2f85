"""The whole system as `make up` starts it, with its own port and folder."""

import json
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil

from connectors.kafka.cluster import Cluster
from tests.support.processes import LINKSTATUS, run
from tests.support.waiting import PATIENCE

_READY_SECONDS = 200


class System:
    """`linkstatus up` on a data folder. Its output is in `folder/up.out`."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self.data = folder / "data"
        # Its own prefix, because other tests may use the same cluster.
        self.prefix = f"{uuid.uuid4().hex[:8]}."
        self._environment = {
            **os.environ,
            "LINKSTATUS_DATA_DIR": str(self.data),
            "LINKSTATUS_TOPIC_PREFIX": self.prefix,
            "LINKSTATUS_PARTITIONS": "2",
            **environment,
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "System":
        """Wait until every process is ready."""
        folder = Path(self.folder)
        with (folder / "up.out").open("wb") as out:
            self._process = subprocess.Popen(
                [*LINKSTATUS, "up", "--port", "0"],
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
        """Whether all processes answer: `up` prints its address before that if one takes long."""
        probes = [f"{self.url}/readyz/board"]
        for url in json.loads(self.environment["LINKSTATUS_BOARD__PROCESSES"]).values():
            probes.append(f"{url}/readyz")
        try:
            return all(httpx.get(probe, timeout=PATIENCE).is_success for probe in probes)
        except httpx.TransportError:
            return False

    def output(self) -> str:
        return (self.folder / "up.out").read_text(errors="replace")

    def family(self) -> list[psutil.Process]:
        """Return the supervisor and everything that it has started."""
        assert self._process
        parent = psutil.Process(self._process.pid)
        return [parent, *parent.children(recursive=True)]

    def processes(self) -> set[tuple[int, float]]:
        """Return the id and start time of each process: a restart changes them."""
        return {(process.pid, process.create_time()) for process in self.family()}

    def stop(self, number: int = signal.SIGINT) -> float:
        """Stop it as Ctrl-C does, and return the seconds it took. Fails if a process is left."""
        assert self._process
        family = self.family()
        started = time.monotonic()
        self._process.send_signal(number)
        self._process.wait(PATIENCE)
        took = time.monotonic() - started
        _, left = psutil.wait_procs(family, timeout=10)
        for process in left:
            process.kill()
        assert not left, f"still running: {left}"
        return took

    @property
    def cluster(self) -> Cluster:
        return Cluster(self.environment["LINKSTATUS_BROKERS"], self.prefix)

    @property
    def environment_of_commands(self) -> dict[str, str]:
        """Return the environment of a command in another terminal."""
        return self._environment

    def run(self, *arguments: str) -> str:
        """Return what a command prints in another terminal. Fails if the command does."""
        return run(*LINKSTATUS, *arguments, env=self._environment).stdout

    def get(self, path: str) -> Any:
        """Return the board's JSON, or None for 404."""
        answer = httpx.get(self.url + path, timeout=PATIENCE)
        if answer.status_code == 404:
            return None
        answer.raise_for_status()
        return answer.json()

    def wait_for(
        self, path: str, condition: Callable[[Any], bool], seconds: float = PATIENCE
    ) -> Any:
        """Return the board's JSON once `condition` holds for it."""
        last: list[Any] = [None]

        def holds() -> bool:
            last[0] = self.get(path)
            return last[0] is not None and condition(last[0])

        try:
            self._await(holds, path, seconds)
        except AssertionError as error:
            error.add_note(f"the last answer: {last[0]}")
            raise
        return last[0]

    def _await(self, condition: Callable[[], bool], what: str, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert self._process
            assert self._process.poll() is None, f"ended while waiting for {what}:\n{self.output()}"
            assert time.monotonic() < deadline, f"timed out: {what}\n{self.output()[-3000:]}"
            time.sleep(0.05)
