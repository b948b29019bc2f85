"""Which records of a partition are done, and how far that lets the group's offset go."""

from collections import deque


class Progress:
    """Progress in one partition. Records are taken in order and done in any order.

    Offsets may have gaps: transaction markers and aborted records take some.
    """

    def __init__(self) -> None:
        self._taken: deque[int] = deque()
        self._done: set[int] = set()
        self._next: int | None = None
        # Whether the partition is ours still; a later turn with it begins with a new Progress.
        self.live = True

    def take(self, offset: int) -> None:
        """Notes that the record at `offset`, beyond all taken before, is being worked on."""
        if self._next is None:
            self._next = offset
        self._taken.append(offset)

    def done(self, offset: int) -> None:
        """Notes that the record at `offset` is done; again is harmless."""
        self._done.add(offset)
        while self._taken and self._taken[0] in self._done:
            first = self._taken.popleft()
            self._done.remove(first)
            self._next = first + 1

    @property
    def next_offset(self) -> int | None:
        """Where a successor must begin: behind the longest run of done records; None before any was
        taken.
        """
        return self._next

    @property
    def waiting(self) -> int:
        """Records taken and not committable yet."""
        return len(self._taken)
