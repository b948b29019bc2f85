"""The faults of a seed: a short list that can be printed, repeated and shortened."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random
from typing import Literal

from tests.simulation.network import Disturbance
from tests.simulation.scheduler import Process, Scheduler
from tests.simulation.transactions import HANGING_SECONDS

Kind = Literal[
    "kill",
    "end",
    "replace",
    "stop",
    "stop at",
    "slow",
    "join",
    "broker",
    "no leader",
    "registry",
    "lose request",
    "lose response",
    "repeat",
    "delay",
    "kill at",
    "kill after",
    "late marker",
    "provider slow",
    "provider late",
    "provider down",
    "provider limiting",
    "provider broken",
    "compact",
    "delete",
]
# How often each kind comes.
_WEIGHTS: dict[Kind, int] = {
    "kill": 3,
    "end": 2,
    "replace": 3,
    "stop": 2,
    "stop at": 5,
    "slow": 2,
    "join": 2,
    "broker": 1,
    "no leader": 2,
    "registry": 1,
    "lose request": 3,
    "lose response": 4,
    "repeat": 3,
    "delay": 3,
    "kill at": 4,
    "kill after": 4,
    "late marker": 4,
    "compact": 2,
    "delete": 1,
}
# The requests that a fault of a request waits for.
REQUESTS = (
    "EndTxn",
    "EndTxn",
    "EndTxn",
    "TxnOffsetCommit",
    "TxnOffsetCommit",
    "AddOffsetsToTxn",
    "AddPartitionsToTxn",
    "Produce link-status",
    "Produce orders",
    "Produce order-close",
    "Produce link-events",
    "InitProducerId",
    "OffsetFetch",
    "Fetch",
    "Fetch rows",
    "JoinGroup",
    "SyncGroup",
    "Heartbeat",
    "ListOffsets",
    "DescribeGroups",
)
# Where a process that stands still becomes a zombie.
_STOPPED_AT = (
    "EndTxn",
    "TxnOffsetCommit",
    "TxnOffsetCommit",
    "AddOffsetsToTxn",
    "AddPartitionsToTxn",
    "Produce link-status",
    "Produce orders",
    "Fetch",
    "JoinGroup",
    "JoinGroup",
    "SyncGroup",
    "OffsetFetch",
)
# What another worker does when a process goes on: steps of a take-over.
_GOES_ON_AT = ("", "", "JoinGroup", "OffsetFetch", "OffsetFetch", "InitProducerId", "Fetch rows")
OF_REQUESTS = frozenset(
    {"lose request", "lose response", "repeat", "delay", "kill at", "kill after", "stop at"}
)
WORKERS = ("w0", "w1")
# A marker of a transaction may be later than the engine waits for any transaction.
_MARKER_SECONDS = (0.3, 1.0, 3.0, 15.0, 45.0)
_MARKER_WEIGHTS = (4, 4, 4, 2, 1)
FIRST_AT, LAST_AT = 1.0, 22.0
_MOST = 12


@dataclass(frozen=True, slots=True)
class Fault:
    """`at` and `seconds` in simulated seconds. `request` is the one that the fault hits: the first
    of `target` from `at` on. The fault ends early at a request `until` of another process.
    """

    at: float
    kind: Kind
    target: str = ""
    request: str = ""
    seconds: float = 0.0
    until: str = ""

    def __str__(self) -> str:
        parts = f"at {self.at:.3f} s", self.kind, self.target, self.request
        text = " ".join(part for part in parts if part)
        text += f" for {self.seconds:.3f} s" if self.seconds else ""
        return text + (f", or until {self.until} of another one" if self.until else "")


def faults_of(random: Random) -> list[Fault]:
    """Return the faults of a seed, in order."""
    kinds, weights = tuple(_WEIGHTS), tuple(_WEIGHTS.values())
    chosen = random.choices(kinds, weights, k=random.randint(1, _MOST))
    # Some come close together: each alone does little harm.
    centers = [random.uniform(FIRST_AT, LAST_AT) for _ in range(2)]
    return sorted((_fault(kind, random, centers) for kind in chosen), key=lambda fault: fault.at)


def _fault(kind: Kind, random: Random, centers: list[float]) -> Fault:
    at = random.uniform(FIRST_AT, LAST_AT)
    if random.random() < 0.5:
        at = random.choice(centers) + random.uniform(0, 2)
    target, request, seconds, until = random.choice(WORKERS), "", 0.0, ""
    match kind:
        case "kill" | "kill at" | "kill after" | "end" | "replace":
            seconds = random.choice((0.2, 1.0, 4.0, 9.0))
        case "stop" | "stop at":
            seconds = random.choice((0.5, 3.0, 7.0, 12.0, 25.0))
            until = random.choice(_GOES_ON_AT) if kind == "stop at" else ""
        case "no leader":
            # New topics, or a broker that takes the partitions over.
            at, target = (0.0 if random.random() < 0.5 else at), ""
            seconds = random.choice((0.1, 1.0, 3.0))
        case "slow":
            seconds = random.choice((2.0, 8.0))
        case "join":
            target, seconds = "w2", random.uniform(2, 15)
        case "registry":
            seconds = random.choice((0.3, 2.0))
        case "broker":
            target, seconds = "", random.choice((0.3, 2.0, 8.0, 20.0))
        case "late marker":
            target = random.choice(("group", "group", "link-status", "orders", "payments"))
            seconds = random.choices(_MARKER_SECONDS, _MARKER_WEIGHTS)[0]
            if target == "group" and random.random() < 0.15:
                seconds = 2 * HANGING_SECONDS
        case "delay":
            seconds = random.choice((0.2, 1.0, 5.0, 12.0))
        case "compact" | "delete":
            target = ""
    if kind in OF_REQUESTS:
        request = random.choice(_STOPPED_AT if kind == "stop at" else REQUESTS)
    # What is printed repeats exactly.
    return Fault(round(at, 3), kind, target, request, round(seconds, 3), until)


class RequestFaults:
    """Disturbs each request that a fault waits for, once. `kill` ends the fault's process."""

    def __init__(
        self, scheduler: Scheduler, faults: Iterable[Fault], kill: Callable[[Fault], None]
    ) -> None:
        self._scheduler = scheduler
        self._left = [fault for fault in faults if fault.request]
        self._kill = kill
        # Processes that stand still until another one sends a certain request.
        self._stopped: list[tuple[Process, Fault]] = []

    def disturb(self, process: Process, kind: str) -> Disturbance | None:
        for stopped, fault in [*self._stopped]:
            if fault.until == kind and stopped is not process:
                self._stopped.remove((stopped, fault))
                stopped.go_on()
        for fault in self._left:
            if fault.at > self._scheduler.now:
                return None
            if fault.target == process.name and fault.request == kind:
                self._left.remove(fault)
                self._scheduler.note(f"fault: {fault}")
                if fault.kind == "stop at":
                    process.stop(fault.seconds)
                    if fault.until:
                        self._stopped.append((process, fault))
                return self._disturbance(fault)
        return None

    def _disturbance(self, fault: Fault) -> Disturbance:
        result = Disturbance()
        result.lost_request = fault.kind in ("lose request", "kill at")
        result.lost_response = fault.kind in ("lose response", "kill after")
        result.is_held = fault.kind == "stop at"
        result.late_copy = fault.kind == "repeat"
        result.delay = fault.seconds if fault.kind == "delay" else 0.0
        if fault.kind in ("kill at", "kill after"):
            # Requests that have left the process arrive, though it is dead by then.
            self._scheduler.later(0, lambda: self._kill(fault))
        return result
