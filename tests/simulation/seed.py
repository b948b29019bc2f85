"""One seed: the cluster, its workers, the traffic, the faults, then the verdict."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import inf
from random import Random
from types import SimpleNamespace
from unittest import mock

from connectors import clock
from connectors.providers.registry import PROVIDERS
from schemas.topics import LINK_STATUS, all_topics
from streams.agents import polling
from streams.agents.stages import TABLES, inputs
from streams.engine.clients import TRANSACTION_TIMEOUT_MS
from tests.chaos.problems import Problems
from tests.checker import history as histories
from tests.checker.check import check
from tests.checker.findings import REPEATED
from tests.checker.record import Line
from tests.connectors.sandbox.sandboxes import NOW
from tests.simulation.cluster import SimulatedKafka
from tests.simulation.faults import WORKERS, Fault, RequestFaults, faults_of
from tests.simulation.history import Service, history
from tests.simulation.providers import INTERVALS, Plan, Providers
from tests.simulation.scheduler import Scheduler
from tests.simulation.traffic import Edge, Services
from tests.simulation.transactions import GROUP, Target
from tests.simulation.verdict import differences_from_rebuilt, verdict
from tests.simulation.worker import Pipeline, Worker
from tests.support.codecs import CODECS

PARTITIONS = 3
_LINKS, _SPREAD_SECONDS = 6, 18.0
# Each worker's number of threads.
_THREADS = {"w0": 2, "w1": 1, "w2": 1}
_FIRST_CALLBACK_AT = 1.0
# After the last fault has ended, everything is done within this time: a session that is missed, an
# abort that its time-out brings, and the longest wait of the engine follow one another.
_DONE_SECONDS = 90.0
_CHECK_SECONDS = 1.0
# A fault of markers makes those of so long a time late.
_LATE_SECONDS = 0.5
# `streams.engine.group` waits so long for pending offsets.
_ENDED_SECONDS = 2 * TRANSACTION_TIMEOUT_MS / 1000
# A stage without a session does not count as joined for longer than this.
_MISSED_SECONDS = 1.5
_GROUP = "linkstatus.work"


@dataclass(slots=True)
class Result:
    """`history` is a digest of what happened at the cluster, `seconds` the simulated time until all
    was done.
    """

    seed: int
    faults: Sequence[Fault]
    problems: Problems
    history: str
    seconds: float
    # What `tests.checker` has judged.
    lines: list[Line] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return not self.problems.found()


def run_seed(seed: int, faults: Sequence[Fault] | None = None) -> Result:
    """Run one seed; `faults` replaces its own."""
    chosen = faults_of(Random(f"faults {seed}")) if faults is None else faults
    scheduler = Scheduler()
    with _only_chance(seed, scheduler):
        return _Run(seed, scheduler, chosen).run()


@contextmanager
def _only_chance(seed: int, scheduler: Scheduler) -> Iterator[None]:
    """Let ids and times of the code under test come from the seed and the simulated clock."""
    time = SimpleNamespace(time_ns=lambda: _micros(scheduler) * 1000)
    urandom = Random(f"ids {seed}").randbytes
    with (
        mock.patch("os.urandom", urandom),
        mock.patch.object(clock, "time", time),
        # How much a tick does depends on how fast this machine is.
        mock.patch.object(polling, "SECONDS_PER_TICK", inf),
    ):
        yield


def _seconds(fault: Fault) -> float:
    """Return how long the fault lasts for the engine, which waits only so long for a group's
    offsets.
    """
    pending = fault.kind == "late marker" and fault.target == GROUP
    return min(fault.seconds, _ENDED_SECONDS) if pending else fault.seconds


def _micros(scheduler: Scheduler) -> int:
    return NOW + int(scheduler.now * 1_000_000)


class _Run:
    def __init__(self, seed: int, scheduler: Scheduler, faults: Sequence[Fault]) -> None:
        self._seed, self._scheduler, self._faults = seed, scheduler, faults
        self._kafka = SimulatedKafka(scheduler, Random(f"cluster {seed}"), NOW // 1000)
        self._kafka.create((topic.name for topic in all_topics(PROVIDERS)), PARTITIONS)
        self._providers = Providers()
        self._plan = Plan(self._providers, seed, _LINKS, _SPREAD_SECONDS)
        self._random = Random(f"surroundings {seed}")
        self._edge = Edge(self._kafka, self._providers, self._random)
        self._services = Services(
            self._kafka, self._providers, self._random, lambda: _micros(scheduler)
        )
        providers = self._providers
        self._service = Service(self._kafka)
        self._lines: list[Line] = []
        self._pipeline = Pipeline(CODECS, providers.by_name, providers.rules, INTERVALS)
        self._workers: dict[str, Worker] = {}
        # How often a worker has got a new name.
        self._names = dict.fromkeys(_THREADS, 0)
        self._markers: list[Fault] = []
        self._left_to_send = len(self._plan.sendings)
        # Since when a stage counts as joined and is no member, by its name.
        self._missed: dict[str, float] = {}
        self._unready: set[str] = set()
        request_faults = RequestFaults(scheduler, faults, self._kill)
        self._kafka.network.disturb = request_faults.disturb
        self._kafka.slow_marker = self._slow_marker

    def run(self) -> Result:
        for name in WORKERS:
            self._start(name)
        for registration in self._plan.registrations:
            self._edge.register(registration, _micros(self._scheduler))
        self._scheduler.later(_FIRST_CALLBACK_AT, self._send)
        for fault in self._faults:
            if not fault.request:
                self._scheduler.later(fault.at, lambda fault=fault: self._inject(fault))  # type: ignore[misc]
        self._scheduler.later(_CHECK_SECONDS, self._watch)
        try:
            problems = self._judge()
        except Exception as error:
            problems = Problems(wrong=[f"a thread ended: {error!r}"])
        lines = self._scheduler.history
        digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
        for worker in self._workers.values():
            worker.process.kill()
        now = self._scheduler.now
        return Result(self._seed, self._faults, problems, digest, now, self._lines)

    def _judge(self) -> Problems:
        ends = [fault.at + _seconds(fault) for fault in self._faults]
        sent = _FIRST_CALLBACK_AT + _SPREAD_SECONDS
        until = max([sent, *ends]) + _DONE_SECONDS
        self._scheduler.run(max([sent, *ends]))
        pause = _CHECK_SECONDS
        while True:
            self._scheduler.run(self._scheduler.now + pause)
            is_over = self._scheduler.now >= until
            waiting = self._waiting()
            if is_over or not waiting:
                problems = verdict(
                    *(self._kafka, self._providers, self._plan),
                    *(self._edge.ledger, self._services.operations),
                )
                problems.hung += waiting
                if problems.repeats and not self._may_repeat():
                    problems.duplicated.append(f"{problems.repeats} events came again")
                problems.wrong += sorted(self._unready)
                if is_over or not problems.found():
                    problems.wrong += differences_from_rebuilt(
                        self._kafka, self._providers, _micros(self._scheduler)
                    )
                    self._check(problems)
                    return problems
                # What is not yet right takes a while; a verdict takes longer than a step.
                pause *= 2

    def _check(self, problems: Problems) -> None:
        """Let the checker judge the history."""
        self._service.read()
        self._lines = [*history(self._kafka, self._edge.ledger, self._service.lines)]
        findings = check(histories.of(self._lines))
        repeats = self._may_repeat()
        problems.add(each for each in findings if not (repeats and each.kind == REPEATED))

    def _may_repeat(self) -> bool:
        """Whether the group's offsets may have been pending for longer than the engine waits: it
        then starts at the last stable ones.
        """
        late = [f for f in self._faults if f.kind == "late marker" and f.target == GROUP]
        away = [fault for fault in self._faults if fault.kind == "broker"]
        return bool(late) and sum(f.seconds for f in (*late, *away)) >= _ENDED_SECONDS

    def _watch(self) -> None:
        """Check that a stage that counts as joined has an open session."""
        self._service.read()
        now, names = self._scheduler.now, self._kafka.open_members
        for worker in self._workers.values():
            for stage in worker.stages:
                if worker.process.is_running and stage.joined and stage.instance not in names:
                    since = self._missed.setdefault(stage.instance, now)
                    if now - since > _MISSED_SECONDS:
                        self._unready.add(f"{stage.instance} counts as joined without a session")
                else:
                    self._missed.pop(stage.instance, None)
        self._scheduler.later(_CHECK_SECONDS, self._watch)

    def _waiting(self) -> list[str]:
        """Return what is not done yet."""
        waiting = []
        if self._left_to_send or self._edge.waiting:
            waiting.append("callbacks are not acknowledged")
        if not self._services.is_idle:
            waiting.append("lookups or settlements are not done")
        committed = self._kafka.group(_GROUP).committed
        for topics in inputs(PROVIDERS).values():
            for name in (topic.name for topic in topics):
                for number, log in enumerate(self._kafka.topics[name]):
                    known = committed.get((name, number))
                    left, _ = log.read(known.offset if known else 0, 1000, True)
                    if left or log.last_stable < log.end:
                        waiting.append(f"{name}/{number}: {len(left)} records wait")
        return waiting

    def _send(self) -> None:
        """Send the callbacks once the registrations are visible: else the order of a link would
        depend on what comes first.
        """
        if not self._is_registered():
            return self._scheduler.later(0.2, self._send)
        for sending in self._plan.sendings:

            def take(sending=sending) -> None:  # type: ignore[no-untyped-def]
                self._left_to_send -= 1
                self._edge.take(sending)

            self._scheduler.later(sending.at, take)
        return None

    def _is_registered(self) -> bool:
        missing = {f"{r['provider']}:{r['link_id']}".encode() for r in self._plan.registrations}
        for log in self._kafka.topics[LINK_STATUS.name]:
            missing -= {entry.record.key or b"" for entry in log.history() if entry.record}
        return not missing

    def _start(self, name: str) -> None:
        full_name = name if not self._names[name] else f"{name}.{self._names[name]}"
        worker = Worker(
            self._kafka,
            self._pipeline,
            full_name,
            _THREADS[name],
            lambda: _micros(self._scheduler),
        )
        # Faults name it by its place.
        worker.process.name = name
        self._workers[name] = worker

    def _inject(self, fault: Fault) -> None:
        self._scheduler.note(f"fault: {fault}")
        match fault.kind:
            case "kill" | "replace" | "end":
                self._kill(fault)
            case "stop" if fault.target in self._workers:
                self._workers[fault.target].process.stop(fault.seconds)
            case "registry":
                self._workers[fault.target].lose_registry(fault.seconds)
            case "join" if self._has_ended(fault.target):
                self._start(fault.target)
                self._scheduler.later(fault.seconds, self._workers[fault.target].end)
            case "broker":
                self._kafka.go_away(fault.seconds)
            case "late marker":
                self._markers.append(fault)
            case "kill edge":
                self._edge.kill(fault.seconds)
            case "compact":
                for table in TABLES.values():
                    for log in self._kafka.topics[table.name]:
                        log.compact(log.end - self._random.randint(0, 3))
            case "delete":
                self._delete_handled()

    def _has_ended(self, name: str) -> bool:
        """Whether no worker has this name now: two with one name fence each other."""
        return name not in self._workers or self._workers[name].process.has_ended

    def _kill(self, fault: Fault) -> None:
        """End a worker, and start it again after a time."""
        if self._has_ended(fault.target):
            return
        worker = self._workers[fault.target]
        if fault.kind == "end":
            worker.end()
        else:
            worker.process.kill()
        if fault.kind == "replace":
            self._names[fault.target] += 1
        self._scheduler.later(fault.seconds, lambda: self._restart(fault.target, worker))

    def _restart(self, name: str, before: Worker) -> None:
        if self._workers[name] is not before or name not in WORKERS:
            return
        if before.process.has_ended:
            self._start(name)
        else:
            # It still ends; a supervisor kills it after a while.
            self._scheduler.later(1.0, lambda: self._restart(name, before))

    def _slow_marker(self, target: Target) -> float:
        now = self._scheduler.now
        due = (f for f in self._markers if f.target == target[0] and now < f.at + _LATE_SECONDS)
        return max((fault.seconds for fault in due), default=0.0)

    def _delete_handled(self) -> None:
        """Delete what every group has read, as retention does."""
        committed = self._kafka.group(_GROUP).committed
        for topics in inputs(PROVIDERS).values():
            for topic in topics:
                for number, log in enumerate(self._kafka.topics[topic.name]):
                    known = committed.get((topic.name, number))
                    if known:
                        log.delete_before(known.offset)
