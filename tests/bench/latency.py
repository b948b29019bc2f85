"""From a callback's POST to its `order-close` read, through edge and worker, by rate."""

import asyncio
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

from connectors.kafka.cluster import Cluster
from connectors.providers.registry import PROVIDERS
from schemas.topics import ORDER_CLOSE, all_topics
from streams.admin import topics as admin
from tests.bench.drive import PARTITIONS, Passed, drive, posts
from tests.bench.load import quantile
from tests.bench.processes import RECEIVE, WORK, cpu_seconds, environment, peak_bytes
from tests.support.processes import PORT, running

Say = Callable[[str], None]


def measure(
    brokers: str,
    broker_pid: int,
    folder: Path,
    rates: Sequence[int],
    seconds: float,
    warm_seconds: float,
    say: Say,
) -> dict[str, dict[str, float]]:
    """Return for each rate the quantiles in milliseconds, the cores used by each process, and how
    many orders closed a second. A rate begins when all orders of the last one have closed.
    A broker and its topics are slow in their first seconds, so the figures leave `warm_seconds`
    out.
    """
    cluster = Cluster(brokers, "latency.")
    admin.create(cluster, all_topics(PROVIDERS), PARTITIONS, replication=1)
    edge, work = folder / "latency-edge", folder / "latency-work"
    settings = environment(cluster, edge)
    sending, measured = posts(), dict[str, dict[str, float]]()
    with (
        running(RECEIVE, edge / "log", settings) as receive,
        running(WORK, work / "log", environment(cluster, work)) as worker,
    ):
        pids = {"broker": broker_pid, "worker": worker.pid, "edge": receive.pid}

        def run(rate: int, seconds: float) -> list[Passed]:
            # Made before, so that the load takes little of the machine.
            made = iter(list(islice(sending, int(rate * seconds))))
            until = asyncio.sleep(seconds + 1)
            return asyncio.run(drive(cluster, int(settings[PORT]), ORDER_CLOSE, rate, made, until))

        run(rates[0], warm_seconds)
        for rate in rates:
            before = {name: cpu_seconds(pid) for name, pid in pids.items()}
            started = time.monotonic()
            passed = run(rate, seconds)
            # The cluster's clients need a moment to open and close, which is no time of the load.
            took = time.monotonic() - started
            figures = quantiles(passed)
            figures["closed_per_s"] = round(len(passed) / _span(passed))
            for name, pid in pids.items():
                figures[f"{name}_cores"] = round((cpu_seconds(pid) - before[name]) / took, 2)
            figures["worker_peak_mb"] = round(peak_bytes(worker.pid) / 2**20)
            measured[str(rate)] = figures
            say(f"{rate}/s: {figures}")
    return measured


def quantiles(passed: Sequence[Passed]) -> dict[str, float]:
    """Return quantiles of the times from POST to record read, in milliseconds."""
    times = sorted(seen - sent for _, sent, seen in passed)
    parts = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    return {name: round(quantile(times, part) * 1000, 1) for name, part in parts.items()}


def _span(passed: Sequence[Passed]) -> float:
    return max(seen for _, _, seen in passed) - min(sent for _, sent, _ in passed)
