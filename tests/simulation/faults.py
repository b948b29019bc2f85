"""The faults of a seed: a short list that can be printed, repeated and shortened."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from tests.simulation.network import Disturbance
from tests.simulation.scheduler import Process, Scheduler

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
OF_REQUESTS = frozenset(
    {"lose request", "lose response", "repeat", "delay", "kill at", "kill after", "stop at"}
)
WORKERS = ("w0", "w1")
# It comes and goes.
OTHER_WORKER = "w2"
# The target of a late marker: every topic, but not the offsets of the group.
TOPICS = "topics"
FIRST_AT, LAST_AT = 1.0, 22.0


@dataclass(frozen=True, slots=True)
class Fault:
    """`at` and `seconds` in simulated seconds. `request` is the one that the fault hits: the first
    of `target` from `at` on. The fault ends early at a request `until` of another worker, once that
    one joins its group again: it takes over. A late marker with a `worker` is that of the worker's
    first transaction from `at` on.
    """

    at: float
    kind: Kind
    target: str = ""
    request: str = ""
    seconds: float = 0.0
    until: str = ""
    worker: str = ""

    def __str__(self) -> str:
        parts = f"at {self.at:.3f} s", self.kind, self.target, self.request
        text = " ".join(part for part in parts if part)
        text += f" of {self.worker}" if self.worker else ""
        text += f" for {self.seconds:.3f} s" if self.seconds else ""
        return text + (f", or until {self.until} of another one" if self.until else "")


@dataclass(slots=True)
class _Stopped:
    """A process that stands still until another worker comes to a certain step of a take-over."""

    process: Process
    until: str
    is_rebalancing: bool = False

    def goes_on(self, process: Process, kind: str) -> bool:
        if process is self.process or process.name not in (*WORKERS, OTHER_WORKER):
            return False
        self.is_rebalancing |= kind == "JoinGroup"
        return self.is_rebalancing and kind == self.until


class RequestFaults:
    """Disturbs each request that a fault waits for, once. `kill` ends the fault's process."""

    def __init__(
        self, scheduler: Scheduler, faults: Iterable[Fault], kill: Callable[[Fault], None]
    ) -> None:
        self._scheduler = scheduler
        self._left = [fault for fault in faults if fault.request]
        self._kill = kill
        self._stopped: list[_Stopped] = []

    def disturb(self, process: Process, kind: str) -> Disturbance | None:
        for stopped in [*self._stopped]:
            if stopped.goes_on(process, kind):
                self._stopped.remove(stopped)
                stopped.process.go_on()
        for fault in self._left:
            if fault.at > self._scheduler.now:
                return None
            if fault.target == process.name and fault.request == kind:
                self._left.remove(fault)
                self._scheduler.note(f"fault: {fault}")
                if fault.kind == "stop at":
                    process.stop(fault.seconds)
                    if fault.until:
                        self._stopped.append(_Stopped(process, fault.until))
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
