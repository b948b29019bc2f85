"""Which records of a partition are finished, and how far the group may commit."""

from collections import deque


class OffsetTracker:
    """The records of one partition: started in order, finished in any order.

    Offsets may have gaps: transaction markers and aborted records take some.
    """

    def __init__(self) -> None:
        self._started: deque[int] = deque()
        self._finished: set[int] = set()
        # The offset to commit: behind the longest run of finished records; None before the first.
        self.next_offset: int | None = None
        # False once another member owns the partition; if it comes back, it has a new tracker.
        self.live = True

    def start(self, offset: int) -> None:
        """Note that work on the record at `offset`, beyond all earlier ones, begins."""
        if self.next_offset is None:
            self.next_offset = offset
        self._started.append(offset)

    def finish(self, offset: int) -> None:
        """Note that the record at `offset` is finished; repeating it is harmless."""
        self._finished.add(offset)
        while self._started and self._started[0] in self._finished:
            first = self._started.popleft()
            self._finished.remove(first)
            self.next_offset = first + 1

    def behind_work(self, committed: int) -> int:
        """Return the offset behind the records in work; `committed` if none of them is the first
        after it: then a finished record is not committed, or nothing is read. For any thread.
        """
        started, following = list(self._started), self.next_offset
        return started[-1] + 1 if started and (following or 0) <= committed else committed

    @property
    def pending(self) -> int:
        """Records started and not committable yet."""
        return len(self._started)
