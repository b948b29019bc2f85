"""The transaction coordinator (KIP-98): epochs, fencing, markers that come later, time-outs."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

from confluent_kafka import KafkaError

from tests.simulation.network import Refused
from tests.simulation.scheduler import Scheduler

# A partition, or the offsets of a group: (GROUP, its name).
Target = tuple[str, int | str]
GROUP = "group"
# A marker that is later never comes, as far as the coordinator knows (a "hanging" transaction).
HANGING_SECONDS = 100.0
# How often Kafka looks for transactions that have timed out.
_CHECK_SECONDS = 10.0

State = Literal["empty", "ongoing", "ending", "ended"]


@dataclass(slots=True)
class Transaction:
    """The state of a transactional id. `commits` tells how the last transaction ends."""

    producer: int
    epoch: int
    timeout: float
    state: State = "empty"
    commits: bool = False
    started_at: float = 0.0
    targets: set[Target] = field(default_factory=set)


class Transactions:
    """`write_marker(target, producer, epoch, commit)` ends a transaction at one target.
    `marker_seconds` returns how long the next marker takes.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        write_marker: Callable[[Target, int, int, bool], None],
        marker_seconds: Callable[[Target, str], float],
    ) -> None:
        self.by_id: dict[str, Transaction] = {}
        self._scheduler = scheduler
        self._write_marker = write_marker
        self._marker_seconds = marker_seconds
        self._producers = 1000
        self._scheduler.later(_CHECK_SECONDS, self._end_overdue)

    def new_producer(self) -> int:
        """Return the id of a producer without transactions."""
        self._producers += 1
        return self._producers

    def init(self, name: str, timeout: float) -> tuple[int, int]:
        """Fence earlier producers of the name, and abort what they left open. Return producer id
        and epoch. Raises Refused while a transaction ends.
        """
        txn = self.by_id.get(name)
        if txn is None:
            txn = self.by_id[name] = Transaction(self.new_producer(), -1, timeout)
        if txn.state == "ongoing":
            txn.epoch += 1
            self._finish(name, txn, commit=False)
        if txn.state == "ending":
            raise Refused(KafkaError.CONCURRENT_TRANSACTIONS)
        txn.epoch += 1
        txn.timeout, txn.state = timeout, "empty"
        return txn.producer, txn.epoch

    def add(self, name: str, producer: int, epoch: int, targets: Iterable[Target]) -> None:
        """Add partitions or a group's offsets to the transaction; the first ones begin it."""
        txn = self._checked(name, producer, epoch)
        if txn.state == "ending":
            raise Refused(KafkaError.CONCURRENT_TRANSACTIONS)
        if txn.state != "ongoing":
            txn.state, txn.targets = "ongoing", set()
            txn.started_at = self._scheduler.now
        txn.targets.update(targets)

    def end(self, name: str, producer: int, epoch: int, commit: bool) -> None:
        txn = self._checked(name, producer, epoch)
        if txn.state == "ongoing":
            self._finish(name, txn, commit)
        elif txn.state == "empty" or txn.commits != commit:
            raise Refused(KafkaError.INVALID_TXN_STATE)

    def verify(self, name: str, producer: int, epoch: int, target: Target) -> None:
        """Raise Refused if the target is in no open transaction of the producer (KIP-890)."""
        txn = self._checked(name, producer, epoch)
        if txn.state != "ongoing" or target not in txn.targets:
            raise Refused(KafkaError.INVALID_TXN_STATE)

    def _checked(self, name: str, producer: int, epoch: int) -> Transaction:
        txn = self.by_id[name]
        if (txn.producer, txn.epoch) != (producer, epoch):
            raise Refused(KafkaError.PRODUCER_FENCED)
        return txn

    def _finish(self, name: str, txn: Transaction, commit: bool) -> None:
        """Decide the end. Each target learns of it by itself, in any order."""
        txn.state, txn.commits = "ending", commit
        self._scheduler.note(f"{name} {'commits' if commit else 'aborts'}")
        left, epoch = set(txn.targets), txn.epoch

        def mark(target: Target) -> None:
            self._write_marker(target, txn.producer, epoch, commit)
            self._scheduler.note(f"{name} marker {target[0]}/{target[1]}")
            if left:
                left.discard(target)
                txn.state = "ending" if left else "ended"

        for target in sorted(txn.targets, key=str):
            seconds = self._marker_seconds(target, name)
            if seconds > HANGING_SECONDS:
                # The coordinator has forgotten it.
                left.discard(target)
            self._scheduler.later(seconds, lambda target=target: mark(target))  # type: ignore[misc]
        if not left:
            txn.state = "ended"

    def _end_overdue(self) -> None:
        for name, txn in self.by_id.items():
            if txn.state == "ongoing" and self._scheduler.now > txn.started_at + txn.timeout:
                # The producer is fenced: it must not go on with a part of the transaction.
                txn.epoch += 1
                self._finish(name, txn, commit=False)
        self._scheduler.later(_CHECK_SECONDS, self._end_overdue)
