"""One seed: the cluster, its workers, the traffic, the faults, then the verdict."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from connectors.providers.registry import PROVIDERS
from schemas.limits import RECORD_BYTES
from schemas.topics import LINK_STATUS, all_topics, callbacks
from streams.agents.stages import TABLES, inputs
from streams.engine.clients import TRANSACTION_TIMEOUT_MS
from tests.chaos.problems import Problems
from tests.checker import history as histories
from tests.checker.check import check
from tests.checker.findings import REPEATED
from tests.checker.record import Line
from tests.connectors.sandbox.sandboxes import NOW
from tests.simulation.chance import only_chance, only_simulated
from tests.simulation.clients import cluster_of
from tests.simulation.cluster import SimulatedKafka
from tests.simulation.faults import OTHER_WORKER, WORKERS, Fault, RequestFaults
from tests.simulation.history import Service, history
from tests.simulation.internet import Internet
from tests.simulation.late_markers import LateMarkers
from tests.simulation.providers import INTERVALS, Plan, Providers
from tests.simulation.scheduler import Scheduler
from tests.simulation.schedules import faults_of
from tests.simulation.service_faults import mood, service_faults_of, stalls
from tests.simulation.services import SERVICES, Services, waiting_records
from tests.simulation.traffic import Senders
from tests.simulation.transactions import GROUP
from tests.simulation.verdict import differences_from_rebuilt, verdict
from tests.simulation.watch import CHECK_SECONDS, Watch
from tests.simulation.worker import Pipeline, Worker
from tests.support.codecs import CODECS

PARTITIONS = 3
_LINKS, _SPREAD_SECONDS = 6, 18.0
# Each worker's number of threads.
_THREADS = {"w0": 2, "w1": 1, OTHER_WORKER: 1}
_FIRST_CALLBACK_AT = 1.0
# How many seeds have a record whose dead letter must be cut.
_STRANGER_SHARE = 0.2
# After the last fault has ended, everything is done within this time: a session that is missed, an
# abort that its time-out brings, and the longest wait of the engine follow one another.
_DONE_SECONDS = 90.0
# `streams.engine.group` waits so long for pending offsets.
_ENDED_SECONDS = 2 * TRANSACTION_TIMEOUT_MS / 1000
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
    chosen = _faults(seed) if faults is None else faults
    scheduler = Scheduler()
    with only_chance(seed, scheduler, lambda: _micros(scheduler)):
        return _Run(seed, scheduler, chosen).run()


def _faults(seed: int) -> list[Fault]:
    faults = [
        *faults_of(Random(f"faults {seed}")),
        *service_faults_of(Random(f"service faults {seed}")),
    ]
    return sorted(faults, key=lambda fault: fault.at)


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
        providers = self._providers
        self._internet = Internet(
            *(scheduler, Random(f"internet {seed}"), providers, self._now),
            lambda provider: mood(faults, provider, scheduler.now),
        )
        self._services = Services(self._kafka, providers)
        self._senders = Senders(*(scheduler, self._services, providers, self._random, self._now))
        self._service = Service(self._kafka)
        self._lines: list[Line] = []
        self._pipeline = Pipeline(CODECS, providers.by_name, providers.rules, INTERVALS)
        self._workers: dict[str, Worker] = {}
        # How often a worker has got a new name.
        self._names = dict.fromkeys(_THREADS, 0)
        self._markers = LateMarkers(scheduler, _GROUP)
        self._left_to_send = len(self._plan.sendings)
        names = [topic.name for topics in inputs(PROVIDERS).values() for topic in topics]
        self._seen = Watch(self._kafka, self._kafka.group(_GROUP), names, self._workers)
        request_faults = RequestFaults(scheduler, faults, self._kill)
        self._kafka.network.disturb = request_faults.disturb
        self._internet.network.disturb = request_faults.disturb
        self._kafka.slow_marker = self._markers.seconds

    def _now(self) -> int:
        return _micros(self._scheduler)

    def run(self) -> Result:
        with only_simulated(self._internet, self._services.exit_process):
            return self._run()

    def _run(self) -> Result:
        self._services.start()
        for name in WORKERS:
            self._start(name)
        for registration in self._plan.registrations:
            self._senders.register(registration)
        self._scheduler.later(_FIRST_CALLBACK_AT, self._send)
        stranger = Random(f"stranger {self._seed}")
        if stranger.random() < _STRANGER_SHARE:
            at, name = stranger.uniform(0, _SPREAD_SECONDS), stranger.choice(sorted(PROVIDERS))
            self._scheduler.later(at, lambda: self._publish_too_large(name))
        for fault in self._faults:
            if not fault.request:
                self._scheduler.later(fault.at, lambda fault=fault: self._inject(fault))  # type: ignore[misc]
        self._scheduler.later(CHECK_SECONDS, self._watch)
        try:
            problems = self._judge()
        except Exception as error:
            problems = Problems(wrong=[f"a thread ended: {error!r}"])
        lines = self._scheduler.history
        digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
        for worker in self._workers.values():
            worker.process.kill()
        self._services.stop()
        now = self._scheduler.now
        return Result(self._seed, self._faults, problems, digest, now, self._lines)

    def _publish_too_large(self, provider: str) -> None:
        """Publish, besides the edge, a record so large that its dead letter must be cut."""
        producer = cluster_of(self._kafka).clients.producer({})
        producer.produce(callbacks(provider).name, bytes(RECORD_BYTES - 128), b"stranger")

    def _judge(self) -> Problems:
        ends = [fault.at + _seconds(fault) for fault in self._faults]
        sent = _FIRST_CALLBACK_AT + _SPREAD_SECONDS
        until = max([sent, *ends]) + _DONE_SECONDS
        self._scheduler.run(max([sent, *ends]))
        pause = CHECK_SECONDS
        while True:
            self._scheduler.run(self._scheduler.now + pause)
            is_over = self._scheduler.now >= until
            waiting = self._waiting()
            if is_over or not waiting:
                problems = verdict(
                    *(self._kafka, self._providers, self._plan),
                    *(self._senders.ledger, self._providers.operations()),
                )
                problems.hung += waiting
                problems.wrong += stalls(self._faults, self._services.stalled)
                if problems.repeats and not self._may_repeat():
                    problems.duplicated.append(f"{problems.repeats} events came again")
                failed = self._pipeline.failed_sessions
                problems.wrong += self._seen.problems(self._faults, failed)
                if not problems.found():
                    problems.wrong += differences_from_rebuilt(
                        self._kafka, self._providers, _micros(self._scheduler)
                    )
                    is_over = True
                if is_over:
                    self._check(problems)
                    return problems
                # What is not yet right takes a while; a verdict takes longer than a step.
                pause *= 2

    def _check(self, problems: Problems) -> None:
        """Let the checker judge the history."""
        self._service.read()
        self._lines = [*history(self._kafka, self._senders.ledger, self._service.lines)]
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
        self._service.read()
        self._seen.check()
        self._scheduler.later(CHECK_SECONDS, self._watch)

    def _waiting(self) -> list[str]:
        """Return what is not done yet."""
        waiting = []
        if self._left_to_send or self._senders.waiting:
            waiting.append("callbacks are not acknowledged")
        waiting += waiting_records(self._kafka)
        group = self._kafka.group(_GROUP)
        for topics in inputs(PROVIDERS).values():
            for name in (topic.name for topic in topics):
                for number, log in enumerate(self._kafka.topics[name]):
                    left, _ = log.read(group.handled((name, number)), 1000, True)
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
                self._senders.take(sending)

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
            case "stop" if fault.target in SERVICES:
                self._services.process(fault.target).stop(fault.seconds)
            case "stop" if fault.target in self._workers:
                self._workers[fault.target].process.stop(fault.seconds)
            case "registry":
                self._workers[fault.target].lose_registry(fault.seconds)
            case "slow":
                self._workers[fault.target].be_slow(fault.seconds)
            case "join" if self._has_ended(fault.target):
                self._start(fault.target)
                self._scheduler.later(fault.seconds, self._workers[fault.target].end)
            case "broker":
                self._kafka.go_away(fault.seconds)
            case "no leader":
                self._kafka.lose_leaders(fault.seconds)
            case "late marker":
                self._markers.add(fault)
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
        """End a process, and start it again after a time."""
        if fault.target in SERVICES:
            return self._services.kill(fault.target, fault.seconds, in_order=fault.kind == "end")
        if self._has_ended(fault.target):
            return None
        worker = self._workers[fault.target]
        if fault.kind == "end":
            worker.end()
        else:
            worker.process.kill()
        if fault.kind == "replace":
            self._names[fault.target] += 1
        self._scheduler.later(fault.seconds, lambda: self._restart(fault.target, worker))
        return None

    def _restart(self, name: str, before: Worker) -> None:
        if self._workers[name] is not before or name not in WORKERS:
            return
        if before.process.has_ended:
            self._start(name)
        else:
            # It still ends; a supervisor kills it after a while.
            self._scheduler.later(1.0, lambda: self._restart(name, before))

    def _delete_handled(self) -> None:
        """Delete what every group has read, as retention does."""
        committed = self._kafka.group(_GROUP).committed
        for topics in inputs(PROVIDERS).values():
            for topic in topics:
                for number, log in enumerate(self._kafka.topics[topic.name]):
                    known = committed.get((topic.name, number))
                    if known:
                        log.delete_before(known.offset)
