"""Every engine does the same job, each with a new group on its own topics."""

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from connectors.kafka.cluster import Cluster
from connectors.providers.registry import PROVIDERS
from schemas.topics import all_topics
from streams.admin import topics
from streams.local import subprocesses
from streams.local.broker import Broker
from tests.bench.child import Child
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
    workers: int = 1
    callbacks: int | None = None


@dataclass
class EngineRun:
    """One run of an engine. `seconds` from its first record to the last output visible; of its
    `cpu_seconds`, those of the start came before that record.
    """

    engine: str
    callbacks: int
    seconds: float
    wall_seconds: float
    cpu_seconds: float
    start_cpu_seconds: float
    broker_cpu_seconds: float
    peak_rss: int
    differences: dict[str, int] = field(default_factory=dict)

    @property
    def callbacks_per_second(self) -> float:
        return self.callbacks / self.seconds

    @property
    def cpu_us_per_callback(self) -> float:
        """Microseconds of CPU a callback, without the start of the process."""
        return (self.cpu_seconds - self.start_cpu_seconds) / self.callbacks * 1e6


def compare(
    broker: Broker, folder: Path, engines: Sequence[Engine], callbacks: int, rounds: int, say: Say
) -> list[EngineRun]:
    """Run every engine once per round; every second round in reverse order."""
    prepared: dict[int, tuple[list[RawRecord], Expected]] = {}
    for size in sorted({engine.callbacks or callbacks for engine in engines}):
        workload = records(size)
        prepared[size] = workload, expect(workload)
        say(f"workload of {len(workload):,} callbacks: {prepared[size][1]}")
    runs: list[EngineRun] = []
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
) -> EngineRun:
    cluster = Cluster(broker.brokers, f"{folder.name}.")
    folder.mkdir()
    topics.create(cluster, all_topics(PROVIDERS), PARTITIONS, 1)
    produce(cluster, workload)
    watch = Watch(cluster, PARTITIONS, expected)
    server = psutil.Process(broker.pid)
    broker_before = _cpu(server)
    started = time.time()
    with ExitStack() as stack:
        stack.callback(watch.close)
        children = [Child(cluster, folder / str(number)) for number in range(engine.workers)]
        meters = [Meter(_start(engine, child, stack)) for child in children]
        _watch(watch, meters, engine, folder)
        firsts = [first for child in children if (first := child.first_record())]
        return EngineRun(
            engine.name,
            len(workload),
            watch.last_at - min((at for at, _ in firsts), default=started),
            watch.last_at - started,
            sum(meter.cpu_seconds for meter in meters),
            sum(cpu for _, cpu in firsts),
            _cpu(server) - broker_before,
            sum(meter.peak_rss for meter in meters),
            watch.differences(),
        )


def _start(engine: Engine, child: Child, stack: ExitStack) -> subprocess.Popen[bytes]:
    settings = environment(child.cluster, child.folder)
    verb = ("worker",) if engine.module.endswith("faust") else ()
    argv = [engine.python, "-m", engine.module, *verb]
    process = subprocesses.spawn(argv, child.folder / "log", settings)
    stack.callback(subprocesses.stop, process, 10)
    return process


def _watch(watch: Watch, meters: list["Meter"], engine: Engine, folder: Path) -> None:
    quiet_after = time.time() + _GIVE_UP_SECONDS
    while not watch.complete():
        watch.poll()
        for meter in meters:
            if not meter.read():
                log = subprocesses.tail(folder / "0" / "log")
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
        """Read both, ten times a second at most. Returns False once the process has ended."""
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
