"""Our processes, as children of a test or of the benchmark."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from connectors.kafka.cluster import Cluster
from streams.local import subprocesses
from tests.support.documents import ROOT
from tests.support.ports import free_port
from tests.support.waiting import until_sync

LINKSTATUS = (sys.executable, "-m", "streams.cli")
PORT = "LINKSTATUS_HTTP__PORT"


def environment(cluster: Cluster, folder: Path, **settings: str) -> dict[str, str]:
    """Return the environment of one of our processes, with a free port. The names of `settings`
    are without LINKSTATUS_.
    """
    return {
        "PYTHONPATH": str(ROOT),
        "LINKSTATUS_BROKERS": cluster.brokers,
        "LINKSTATUS_TOPIC_PREFIX": cluster.prefix,
        "LINKSTATUS_DATA_DIR": str(folder),
        PORT: str(free_port()),
        **{f"LINKSTATUS_{name}": value for name, value in settings.items()},
    }


def spawn(command: str, log: Path, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start `linkstatus {command}`, which ends with the thread that calls this."""
    return subprocesses.spawn([*LINKSTATUS, command], log, env)


def run(
    *argv: str | Path, code: int | None = 0, timeout: float = 150, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end; `options` as of `subprocess.run`. Fails for another exit code than
    `code`, where it is not None.
    """
    kwargs = {"cwd": ROOT, "capture_output": True, "text": True, "timeout": timeout, **options}
    ended = subprocess.run(argv, check=False, **kwargs)
    assert code is None or ended.returncode == code, f"{argv}:\n{ended.stdout}\n{ended.stderr}"
    return ended


def is_ready(port: int) -> bool:
    """Whether the process with this HTTP port is ready."""
    try:
        url = f"http://127.0.0.1:{port}/readyz"
        return httpx.get(url, timeout=2.0, trust_env=False).is_success
    except httpx.HTTPError:
        return False


@contextmanager
def running(
    argv: list[str], log: Path, env: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a Python program of ours during the block; yield it once it is ready."""
    process = subprocesses.spawn([sys.executable, *argv], log, env)

    def is_up() -> bool:
        assert process.poll() is None, f"the process ended:\n{subprocesses.tail(log)}"
        return is_ready(int(env[PORT]))

    try:
        until_sync(is_up, f"{argv[-1]}, see {log}", 90)
        yield process
    finally:
        subprocesses.stop(process, 10)
