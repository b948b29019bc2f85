"""How long each partition stands still while the workers of a group change.

A partition stands still while a callback waits in it and none of its rows is committed.
"""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from typing import Any

from connectors.kafka.cluster import Cluster
from connectors.providers.registry import PROVIDERS
from schemas.topics import LINK_STATUS, all_topics
from streams.admin import topics as admin
from streams.local import subprocesses
from tests.bench.drive import PARTITIONS, Passed, drive, posts
from tests.bench.processes import RECEIVE, WORK, environment
from tests.support.processes import PORT, is_ready, running
from tests.support.waiting import until_threaded

_RATE = 200
# The session time of a consumer, in which Kafka misses no heartbeat, and a second more.
_MISSED_SECONDS = 7.0

Action = Callable[[], Awaitable[None]]


class Worker:
    """`linkstatus work`, started and ended while callbacks come."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self._settings = environment(cluster, folder)
        self._settings["LINKSTATUS_LOG_LEVEL"] = "INFO"
        self._log = folder / "log"
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Start it and return once it has partitions."""
        self._process = subprocesses.spawn([sys.executable, *WORK], self._log, self._settings)
        port = int(self._settings[PORT])
        await until_threaded(lambda: is_ready(port), f"the worker, see {self._log}")

    async def end(self, number: int = signal.SIGTERM) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)
        await asyncio.to_thread(self._process.wait)

    async def kill(self) -> None:
        await self.end(signal.SIGKILL)
        await asyncio.sleep(_MISSED_SECONDS)

    def stop(self) -> None:
        if self._process is not None:
            subprocesses.stop(self._process, 10)


def measure(
    brokers: str, folder: Path, rounds: int, settle_seconds: float
) -> dict[str, dict[str, Any]]:
    """Return the standstill of the partitions in seconds by what happens to the workers: the median
    and the longest of all partitions and rounds. Between two changes `settle_seconds` pass.
    """
    cluster = Cluster(brokers, "standstill.")
    admin.create(cluster, all_topics(PROVIDERS), PARTITIONS, replication=1)
    edge = folder / "standstill-edge"
    settings = environment(cluster, edge)
    workers = [Worker(cluster, folder / f"standstill-{number}") for number in range(3)]
    windows: list[tuple[str, float, float]] = []
    with running(RECEIVE, edge / "log", settings):
        try:
            until = _change(workers, rounds, settle_seconds, windows)
            sending = posts()
            passed = asyncio.run(
                drive(cluster, int(settings[PORT]), LINK_STATUS, _RATE, sending, until)
            )
        finally:
            for worker in workers:
                worker.stop()
    return _summary(passed, windows)


async def _change(
    workers: list[Worker],
    rounds: int,
    settle_seconds: float,
    windows: list[tuple[str, float, float]],
) -> None:
    """Do everything that happens to workers, and note when each of it began and had settled."""
    first, second, third = workers

    async def roll() -> None:
        for worker in (first, second):
            await worker.end()
            await worker.start()

    actions: dict[str, Action] = {
        "undisturbed": lambda: asyncio.sleep(0),
        "joins": third.start,
        "ends": third.end,
        "rolling restart": roll,
        "killed": second.kill,
    }
    await first.start()
    for _ in range(rounds):
        await second.start()
        await asyncio.sleep(settle_seconds)
        for name, action in actions.items():
            began = time.perf_counter()
            await action()
            await asyncio.sleep(settle_seconds)
            windows.append((name, began, time.perf_counter()))


def standstill(passed: list[Passed], began: float, ended: float) -> list[float]:
    """Return for each partition the longest time in which a callback waited and no row came, of
    those times that have their middle in the window. A change also holds a callback that came just
    before it, in the window of the change before.
    """
    longest, last_at = [0.0] * PARTITIONS, [0.0] * PARTITIONS
    for number, sent, seen in passed:
        since = max(sent, last_at[number])
        if began <= (since + seen) / 2 < ended:
            longest[number] = max(longest[number], seen - since)
        last_at[number] = seen
    return longest


def _summary(
    passed: list[Passed], windows: list[tuple[str, float, float]]
) -> dict[str, dict[str, Any]]:
    times: dict[str, list[float]] = {}
    for name, began, ended in windows:
        times.setdefault(name, []).extend(standstill(passed, began, ended))
    return {
        name: {"median_s": round(median(of), 2), "longest_s": round(max(of), 2)}
        for name, of in times.items()
    }
