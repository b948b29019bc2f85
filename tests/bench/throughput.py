"""The engines one after the other at the same job, each from an empty group on its own topics."""

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from connectors.kafka import Cluster
from connectors.registry import PROVIDERS
from schemas.topics import all_topics
from streams import admin, child
from streams.embedded import Broker
from tests.bench.child import Told
from tests.bench.expected import Expected, expect
from tests.bench.processes import environment
from tests.bench.watch import Watch
from tests.bench.workload import RawRecord, produce, records

PARTITIONS = 8
_GIVE_UP_SECONDS = 240.0

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Engine:
    """How an engine is started. `callbacks` limits its workload; `workers` are processes."""

    name: str
    module: str
    python: str = sys.executable
    arguments: tuple[str, ...] = ()
    workers: int = 1
    callbacks: int | None = None


@dataclass
class Ran:
    """One run of an engine. `seconds` from its first record to the last output visible."""

    engine: str
    callbacks: int
    seconds: float
    wall_seconds: float
    cpu_seconds: float
    broker_cpu_seconds: float
    peak_rss: int
    differences: dict[str, int] = field(default_factory=dict)

    @property
    def callbacks_per_second(self) -> float:
        return self.callbacks / self.seconds


def compare(
    broker: Broker, folder: Path, engines: Sequence[Engine], callbacks: int, rounds: int, say: Say
) -> list[Ran]:
    """Every engine once a round, the order turned round by round."""
    prepared: dict[int, tuple[list[RawRecord], Expected]] = {}
    for size in sorted({engine.callbacks or callbacks for engine in engines}):
        workload = records(size)
        prepared[size] = workload, expect(workload)
        say(f"workload of {len(workload):,} callbacks: {prepared[size][1]}")
    runs: list[Ran] = []
    for number in range(rounds):
        for engine in engines if number % 2 == 0 else reversed(engines):
            workload, expected = prepared[engine.callbacks or callbacks]
            name = f"{engine.name.replace(' ', '-')}-{number}"
            ran = _run(engine, broker, folder / name, workload, expected)
            rate = f"{ran.callbacks_per_second:,.0f} callbacks/s"
            say(f"{engine.name}: {rate} {ran.differences or ''}")
            runs.append(ran)
    return runs


def _run(
    engine: Engine, broker: Broker, folder: Path, workload: list[RawRecord], expected: Expected
) -> Ran:
    cluster = Cluster(broker.brokers, f"{folder.name}.")
    folder.mkdir()
    admin.create(cluster, all_topics(PROVIDERS), PARTITIONS, 1)
    produce(cluster, workload)
    watch = Watch(cluster, PARTITIONS, expected)
    server = psutil.Process(broker.pid)
    broker_before = _cpu(server)
    started = time.time()
    with ExitStack() as stack:
        stack.callback(watch.close)
        tolds = [Told(cluster, folder / str(number)) for number in range(engine.workers)]
        meters = [Meter(_start(engine, told, stack)) for told in tolds]
        _watch(watch, meters, engine, folder)
        took = [at for told in tolds if (at := told.took_at())]
        return Ran(
            engine.name,
            len(workload),
            watch.last_at - min(took, default=started),
            watch.last_at - started,
            sum(meter.cpu_seconds for meter in meters),
            _cpu(server) - broker_before,
            sum(meter.peak_rss for meter in meters),
            watch.differences(),
        )


def _start(engine: Engine, told: Told, stack: ExitStack) -> subprocess.Popen[bytes]:
    told.folder.mkdir()
    told_all = {**environment(told.cluster, told.folder), **told.environment()}
    verb = ("worker",) if engine.module.endswith("faust") else ()
    argv = [engine.python, "-m", engine.module, *engine.arguments, *verb]
    process = child.spawn(argv, told.folder / "log", told_all)
    stack.callback(child.stop, process, 10)
    return process


def _watch(watch: Watch, meters: list["Meter"], engine: Engine, folder: Path) -> None:
    quiet_after = time.time() + _GIVE_UP_SECONDS
    while not watch.complete():
        watch.poll()
        for meter in meters:
            if not meter.read():
                log = child.tail(folder / "0" / "log")
                raise RuntimeError(f"{engine.name} ended with {watch.missing():,} missing:\n{log}")
        if time.time() > quiet_after or (watch.last_at and time.time() - watch.last_at > 60):
            return


class Meter:
    """CPU and peak memory of a running process and its children."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._popen = process
        self._process = psutil.Process(process.pid)
        self._next = 0.0
        self.cpu_seconds = 0.0
        self.peak_rss = 0

    def read(self) -> bool:
        """Reads both, not too often; False once the process has ended."""
        if self._popen.poll() is not None:
            return False
        if time.monotonic() < self._next:
            return True
        self._next = time.monotonic() + 0.1
        family = [self._process, *self._process.children(recursive=True)]
        self.cpu_seconds = sum(_cpu(process) for process in family)
        self.peak_rss = max(self.peak_rss, sum(_rss(process) for process in family))
        return True


def _cpu(process: psutil.Process) -> float:
    try:
        times: Any = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)


def _rss(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0
