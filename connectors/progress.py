"""Which records of a partition are done, and how far that lets the group's offset go."""

import re
from collections import deque
from collections.abc import Iterator
from itertools import groupby

# What may be noted beside a committed offset; brokers take 4096 bytes unless told otherwise.
_LONGEST_NOTE = 4000
_NOTE = re.compile(r"done:(?:[0-9]{1,9}-[0-9]{1,9}(?:,|$))*")


class Progress:
    """Progress in one partition. Records are taken in order and done in any order.

    Offsets may have gaps: transaction markers and aborted records take some.
    """

    def __init__(self, offset: int = 0, note: str = "") -> None:
        """`note` is what a predecessor left with its committed `offset`; another's is none."""
        self._taken: deque[int] = deque()
        self._done: set[int] = set()
        self._before = [
            range(offset + first, offset + last + 1) for first, last in _ranges_in(note)
        ]
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

    def was_done(self, offset: int) -> bool:
        """Whether a predecessor has done the record at `offset` already."""
        while self._before and self._before[0].stop <= offset:
            self._before.pop(0)
        return bool(self._before) and offset in self._before[0]

    @property
    def reached(self) -> tuple[int, str] | None:
        """What to commit: offset and note; None before any record was taken."""
        return None if self._next is None else (self._next, self.note)

    @property
    def note(self) -> str:
        """Which records behind `next_offset` are done, for a successor: it need not do them again.
        As ranges counted from there; what does not fit is done again.
        """
        parts: list[str] = []
        size = len("done:")
        for first, last in self._done_ahead():
            parts.append(f"{first - (self._next or 0)}-{last - (self._next or 0)}")
            size += len(parts[-1]) + 1
            if size > _LONGEST_NOTE:
                parts.pop()
                break
        return "done:" + ",".join(parts) if parts else ""

    def _done_ahead(self) -> Iterator[tuple[int, int]]:
        """First and last offset of each run: of what was taken, then what the predecessor did."""
        behind = self._next or 0
        for done, run in groupby(self._taken, self._done.__contains__):
            offsets = list(run)
            behind = offsets[-1] + 1
            if done:
                yield offsets[0], offsets[-1]
        for known in self._before:
            if known.stop > behind:
                yield max(known.start, behind), known.stop - 1

    @property
    def waiting(self) -> int:
        """Records taken and not committable yet."""
        return len(self._taken)


def _ranges_in(note: str) -> list[tuple[int, int]]:
    if not _NOTE.fullmatch(note):
        return []
    pairs = (part.split("-") for part in note.removeprefix("done:").split(",") if part)
    return [(int(first), int(last)) for first, last in pairs]
