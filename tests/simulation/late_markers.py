"""Faults that make markers of transactions late."""

from tests.simulation.faults import TOPICS, Fault
from tests.simulation.scheduler import Scheduler
from tests.simulation.transactions import GROUP, Target

# A fault of no certain worker makes the markers of so long a time late.
_LATE_SECONDS = 0.5


class LateMarkers:
    """`group` is that of the workers: their transactional ids begin with it."""

    def __init__(self, scheduler: Scheduler, group: str) -> None:
        self._scheduler, self._prefix = scheduler, f"{group}."
        self._faults: list[Fault] = []
        # When the transaction ended that a fault of a certain worker hits.
        self._ended_at: dict[Fault, float] = {}

    def add(self, fault: Fault) -> None:
        self._faults.append(fault)

    def seconds(self, target: Target, transactional_id: str) -> float:
        """Return how late the next marker of the transaction is at the target."""
        worker = transactional_id.removeprefix(self._prefix).split(".")[0]
        return max((f.seconds for f in self._faults if self._hits(f, target, worker)), default=0.0)

    def _hits(self, fault: Fault, target: Target, worker: str) -> bool:
        is_topic = target[0] != GROUP
        if fault.target != target[0] and not (is_topic and fault.target == TOPICS):
            return False
        now = self._scheduler.now
        if not fault.worker:
            return now < fault.at + _LATE_SECONDS
        # All markers of a transaction are sent at one time.
        return fault.worker == worker and self._ended_at.setdefault(fault, now) == now
