"""What is watched while a seed runs: standstills, readiness, failing sessions, ends of workers."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from streams.engine.clients import SESSION_TIMEOUT_MS
from tests.simulation.cluster import SimulatedKafka
from tests.simulation.faults import Fault, Kind
from tests.simulation.groups import Group, Partition
from tests.simulation.log import PartitionLog
from tests.simulation.services import SERVICES
from tests.simulation.worker import FailedSession, Worker

CHECK_SECONDS = 1.0
# A stage without a session does not count as joined for longer than this.
_MISSED_SECONDS = 1.5
# `streams.engine.stage` waits so long for its thread, and a check may come a second later.
_END_SECONDS = 9
# With these faults alone no session fails: a rebalance aborts no batch, and a client repeats what
# the network loses.
_HARMLESS: tuple[Kind, ...] = (
    *("kill", "kill at", "kill after", "replace", "end", "join", "slow"),
    *("lose request", "lose response", "repeat", "compact", "delete"),
)
_SHORT_SECONDS = 2.0
# The group misses a worker after its session. Then the others take over.
_SESSION_SECONDS = SESSION_TIMEOUT_MS / 1000
_TAKE_OVER_SECONDS = _SESSION_SECONDS + _SHORT_SECONDS
# Requests of the engine time out after 15 s, one after another.
_TIME_OUT_SECONDS = 30.0


class Watch:
    """Call `check` each `CHECK_SECONDS`. `topics` are the inputs of `group`. `workers` changes."""

    def __init__(
        self,
        kafka: SimulatedKafka,
        group: Group,
        topics: Iterable[str],
        workers: Mapping[str, Worker],
    ) -> None:
        self._kafka, self._workers = kafka, workers
        self._standstill = Standstill(group, kafka, topics)
        # Since when a stage counts as joined and is no member, by its name.
        self._missed: dict[str, float] = {}
        self._unready: set[str] = set()
        # How many seconds a worker that must end has run on.
        self._ending: Counter[Worker] = Counter()

    def check(self) -> None:
        self._standstill.check()
        self._check_joined()
        running = (each for each in self._workers.values() if each.process.is_running)
        self._ending.update(each for each in running if each.told_to_end_at is not None)

    def _check_joined(self) -> None:
        """A stage that counts as joined has an open session."""
        now, names = self._kafka.scheduler.now, self._kafka.open_members
        for worker in self._workers.values():
            for stage in worker.stages:
                if worker.process.is_running and stage.joined and stage.instance not in names:
                    since = self._missed.setdefault(stage.instance, now)
                    if now - since > _MISSED_SECONDS:
                        self._unready.add(f"{stage.instance} counts as joined without a session")
                else:
                    self._missed.pop(stage.instance, None)

    def problems(
        self, faults: Sequence[Fault], failed_sessions: Iterable[FailedSession]
    ) -> Iterator[str]:
        """Yield what was seen so far and must not be with these faults."""
        yield from sorted(self._unready)
        for worker, running in self._ending.items():
            if running > _END_SECONDS:
                yield f"{worker.process.name} has not ended {running} s after it had to"
        if all(fault.kind in _HARMLESS for fault in faults):
            yield from (
                f"a session failed: {each}" for each in unexplained(failed_sessions, faults)
            )
        partition, seconds = self._standstill.longest()
        if seconds > allowed_standstill(faults):
            yield f"{partition[0]}/{partition[1]} stood still for {seconds:.0f} s"


def unexplained(
    sessions: Iterable[FailedSession], faults: Iterable[Fault]
) -> Iterator[FailedSession]:
    """Yield the sessions that no fault explains. To Kafka a late copy of InitProducerId is a newer
    instance: it fences the producer, once. The worker begins another session.
    """
    late = [f for f in faults if f.kind == "repeat" and f.request == "InitProducerId"]
    for session in sessions:
        causes = (f for f in late if f.target == session.worker and f.at < session.at)
        cause = next(causes, None) if session.is_fenced else None
        if cause is None:
            yield session
        else:
            late.remove(cause)


def allowed_standstill(faults: Iterable[Fault]) -> float:
    """Return for how many seconds these faults may make a partition stand still."""
    return _SHORT_SECONDS + sum(map(_allowed, faults))


def _allowed(fault: Fault) -> float:
    if fault.target in SERVICES or fault.kind.startswith("provider"):
        # No partition waits for a service.
        return 0.0
    match fault.kind:
        case "stop" | "stop at" if fault.seconds > _SESSION_SECONDS:
            # Within a transaction it holds the partitions of the transaction until it goes on. Then
            # it joins again, and may end that session before it knows its new member id: the group
            # misses this member too.
            return fault.seconds + _TAKE_OVER_SECONDS
        case "kill" | "kill at" | "kill after" | "replace" | "stop" | "stop at":
            return _TAKE_OVER_SECONDS
        case "broker" | "late marker":
            return fault.seconds + _TIME_OUT_SECONDS
        case _:
            return fault.seconds + _SHORT_SECONDS


class Standstill:
    """How long each partition has records while its committed offset stays."""

    def __init__(self, group: Group, kafka: SimulatedKafka, topics: Iterable[str]) -> None:
        self._scheduler, self._group = kafka.scheduler, group
        self._logs: dict[Partition, PartitionLog] = {
            (topic, number): log
            for topic in topics
            for number, log in enumerate(kafka.topics[topic])
        }
        # The committed offset of each partition that has records, and since when.
        self._since: dict[Partition, tuple[int, float]] = {}
        self._longest: dict[Partition, float] = {}

    def longest(self) -> tuple[Partition, float]:
        """Return the partition that has stood still for the longest time, and the seconds."""
        return max(self._longest.items(), key=lambda item: item[1], default=(("", 0), 0.0))

    def check(self) -> None:
        now = self._scheduler.now
        for partition, log in self._logs.items():
            known = self._group.committed.get(partition)
            offset = known.offset if known else 0
            if not _has_records(log, offset):
                self._since.pop(partition, None)
                continue
            before, since = self._since.get(partition, (offset, now))
            since = since if before == offset else now
            self._since[partition] = offset, since
            self._longest[partition] = max(self._longest.get(partition, 0.0), now - since)


def _has_records(log: PartitionLog, offset: int) -> bool:
    """Whether a record is at `offset` or later, be it visible yet or not."""
    return any(each.record and not each.is_aborted for each in log.entries[offset:])
