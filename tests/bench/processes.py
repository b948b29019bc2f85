"""Our processes, as children of the benchmark: started, waited for, ended."""

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from connectors.kafka import Cluster
from streams import child
from tests.bench.bodies import WEBHOOK_SECRET, WEBHOOK_URL
from tests.bench.job import ENVIRONMENT

ROOT = Path(__file__).parent.parent.parent


def environment(cluster: Cluster, folder: Path) -> dict[str, str]:
    """The settings of a process of ours, with a free port of its own."""
    return {
        **ENVIRONMENT,
        "PYTHONPATH": str(ROOT),
        "LINKSTATUS_BROKERS": cluster.brokers,
        "LINKSTATUS_TOPIC_PREFIX": cluster.prefix,
        "LINKSTATUS_DATA_DIR": str(folder),
        "LINKSTATUS_INSTANCE": f"bench-{folder.name}",
        "LINKSTATUS_LOG_LEVEL": "WARNING",
        "LINKSTATUS_HTTP__PORT": str(child.free_port()),
        "LINKSTATUS_PEACH__WEBHOOK_SECRETS": json.dumps([WEBHOOK_SECRET]),
        "LINKSTATUS_PEACH__WEBHOOK_URL": WEBHOOK_URL,
    }


@contextmanager
def serving(argv: list[str], told: Mapping[str, str], folder: Path) -> Iterator[int]:
    """A process that serves probes, once it is ready, until the end of the block; its port."""
    folder.mkdir(parents=True, exist_ok=True)
    process = child.spawn([sys.executable, *argv], folder / "log", told)
    try:
        port = int(told["LINKSTATUS_HTTP__PORT"])
        _await_ready(process, port, folder / "log")
        yield port
    finally:
        child.stop(process, 10)


def _await_ready(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + 60
    while not _ready(port):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"a process of ours is not ready:\n{child.tail(log)}")
        time.sleep(0.05)


def _ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def answer_of(module: str, *arguments: object, told: Mapping[str, str] | None = None) -> Any:
    """Runs a module of the benchmark to its end; the JSON on its last line of output."""
    argv = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(
        argv,
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), **(told or {})},
        capture_output=True,
        text=True,
        timeout=300,
    )
    if done.returncode:
        raise RuntimeError(f"{module} failed:\n{done.stderr[-4000:]}")
    return json.loads(done.stdout.splitlines()[-1])
