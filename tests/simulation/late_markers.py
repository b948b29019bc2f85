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
        # Since when each fault is at work; None until its worker's transaction ends.
        self._since: dict[Fault, float | None] = {}

    def add(self, fault: Fault) -> None:
        self._since[fault] = None if fault.worker else fault.at

    def seconds(self, target: Target, transactional_id: str) -> float:
        """Return how late the next marker of the transaction is at the target."""
        worker = transactional_id.removeprefix(self._prefix).split(".")[0]
        return max((f.seconds for f in self._since if self._hits(f, target, worker)), default=0.0)

    def _hits(self, fault: Fault, target: Target, worker: str) -> bool:
        is_topic = target[0] != GROUP
        if fault.target != target[0] and not (is_topic and fault.target == TOPICS):
            return False
        now = self._scheduler.now
        if not fault.worker:
            return now < fault.at + _LATE_SECONDS
        if fault.worker == worker and self._since[fault] is None:
            # All markers of a transaction are sent at one time.
            self._since[fault] = now
        return fault.worker == worker and self._since[fault] == now
