"""What time-driven work costs after a start: all open links are overdue for a lookup, and no lookup
is answered.
"""

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from connectors.kafka import topic_reader
from connectors.kafka.cluster import Cluster
from connectors.providers.registry import PROVIDERS
from schemas.topics import LINK_STATUS, LOOKUPS, all_topics
from streams.admin import topics as admin
from tests.bench.drive import PARTITIONS, Passed, drive, posts
from tests.bench.latency import quantiles
from tests.bench.processes import RECEIVE, cpu_seconds, environment, peak_bytes
from tests.bench.restore import write
from tests.support.processes import PORT, running

_RATE = 200
_WORK = ["-m", "tests.bench.engine_ours"]
# The defaults: the other engines of the benchmark have no polling.
_POLLING = {
    "LINKSTATUS_POLLING__FIRST_SECONDS": "60",
    "LINKSTATUS_POLLING__LONGEST_SECONDS": "86400",
}


def measure(
    brokers: str,
    folder: Path,
    links: Sequence[int],
    seconds: float,
    warm_seconds: float,
    say: Callable[[str], None],
) -> dict[str, dict[str, Any]]:
    """Return the figures of the first `seconds` after a start, by the number of open links; as many
    again have ended.
    """
    measured = {}
    for count in links:
        measured[f"{count:,}"] = figures = _measure(
            Cluster(brokers, f"ticks-{count}."), folder, count, seconds, warm_seconds
        )
        say(f"{count:,} open links: {figures}")
    return measured


def _measure(
    cluster: Cluster, folder: Path, links: int, seconds: float, warm_seconds: float
) -> dict[str, Any]:
    admin.create(cluster, all_topics(PROVIDERS), PARTITIONS, replication=1)
    edge, work = (folder / f"{cluster.prefix}{name}" for name in ("edge", "work"))
    settings = environment(cluster, edge)
    work_settings = environment(cluster, work) | _POLLING
    sending = posts()

    def run(seconds: float) -> list[Passed]:
        until = asyncio.sleep(seconds)
        return asyncio.run(drive(cluster, int(settings[PORT]), LINK_STATUS, _RATE, sending, until))

    with running(RECEIVE, edge / "log", settings):
        with running(_WORK, work / "log", work_settings):
            run(warm_seconds)
        write(cluster, 2 * links, open_part=0.5)
        (work / "ticks").unlink(missing_ok=True)
        with running(_WORK, work / "log", work_settings) as worker:
            before = cpu_seconds(worker.pid)
            passed = run(seconds)
            cores = (cpu_seconds(worker.pid) - before) / seconds
            peak = peak_bytes(worker.pid)
    ticks = [json.loads(line) for line in (work / "ticks").read_text().splitlines()]
    return {
        **{f"{name}_ms": value for name, value in quantiles(passed).items()},
        "tick_cpu_ms": round(median(ticks) * 1000, 2),
        "longest_tick_cpu_ms": round(max(ticks) * 1000, 2),
        "worker_cores": round(cores, 2),
        "worker_peak_mb": round(peak / 2**20),
        "lookups_per_hour": round(_count(cluster) * 3600 / seconds),
    }


def _count(cluster: Cluster) -> int:
    """Return the number of lookups asked for; the markers of transactions count for little."""
    reader = topic_reader.reader(cluster, "ticks")
    try:
        name = cluster.topic(LOOKUPS.name)
        numbers = topic_reader.partitions(reader, name)
        return sum(1 for message in topic_reader.read(reader, name, numbers))
    finally:
        reader.close()
