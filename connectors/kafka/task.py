"""A consumed record that is being worked on, and a job for several of them."""

from dataclasses import dataclass, field

from aiokafka import ConsumerRecord

from connectors.kafka.offset_tracker import OffsetTracker


@dataclass(frozen=True, slots=True)
class Task:
    """A record that is being worked on."""

    record: ConsumerRecord
    tracker: OffsetTracker

    @property
    def live(self) -> bool:
        """Whether the record's partition still belongs to this process."""
        return self.tracker.live

    def ack(self) -> None:
        """Note that nothing is left to do for the record."""
        self.tracker.finish(self.record.offset)


@dataclass(slots=True, eq=False)
class Job:
    """One piece of work for all records that ask for it. Lanes take turns (`RetryQueue`)."""

    tasks: list[Task] = field(default_factory=list)
    lane: str = ""

    @property
    def live(self) -> bool:
        """Whether any of its records still waits for it."""
        return any(task.live for task in self.tasks)

    def ack(self) -> None:
        for task in self.tasks:
            task.ack()
