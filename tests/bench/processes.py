"""Our processes as children of the benchmark."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from connectors.kafka.cluster import Cluster
from tests.bench.bodies import WEBHOOK_SECRET, WEBHOOK_URL
from tests.bench.job import ENVIRONMENT
from tests.support import processes
from tests.support.documents import ROOT

RECEIVE, WORK = (["-m", "streams.cli", command] for command in ("receive", "work"))


def environment(cluster: Cluster, folder: Path) -> dict[str, str]:
    """Return the settings of one of our processes, with a free port. Makes the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    return ENVIRONMENT | processes.environment(
        cluster,
        folder,
        INSTANCE=f"bench-{folder.name}",
        LOG_LEVEL="WARNING",
        PEACH__WEBHOOK_SECRETS=json.dumps([WEBHOOK_SECRET]),
        PEACH__WEBHOOK_URL=WEBHOOK_URL,
    )


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has used."""
    times: Any = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def cpu_seconds_of_all(pid: int) -> float:
    """Return the CPU time of a process and its children."""
    children = psutil.Process(pid).children()
    return cpu_seconds(pid) + sum(cpu_seconds(child.pid) for child in children)


def peak_bytes(pid: int) -> int:
    """Return the most memory that a process has had (Linux), else what it has now."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return int(psutil.Process(pid).memory_info().rss)
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def answer_of(module: str, *arguments: object, settings: Mapping[str, str] | None = None) -> Any:
    """Run a module of the benchmark; return the JSON on its last line of output."""
    env = {"PYTHONPATH": str(ROOT), **(settings or {})}
    argv = sys.executable, "-m", module, *map(str, arguments)
    return json.loads(processes.run(*argv, env=env, timeout=300).stdout.splitlines()[-1])
