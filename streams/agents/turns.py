"""Who is next: keys with the time of their turn."""

import heapq

# After every time, in microseconds.
NEVER = 1 << 63


class Turns:
    """Each key has at most one turn. Times are in microseconds."""

    def __init__(self) -> None:
        self._at: dict[bytes, int] = {}
        # Of a key with several times here, only the one in `_at` counts.
        self._heap: list[tuple[int, bytes]] = []

    def __len__(self) -> int:
        return len(self._at)

    def __contains__(self, key: bytes) -> bool:
        return key in self._at

    def put(self, key: bytes, at: int) -> None:
        self._at[key] = at
        heapq.heappush(self._heap, (at, key))

    def drop(self, key: bytes) -> None:
        self._at.pop(key, None)

    def next_at(self) -> int:
        """Return the time of the next turn, or NEVER."""
        while self._heap:
            at, key = self._heap[0]
            if self._at.get(key) == at:
                return at
            heapq.heappop(self._heap)
        return NEVER

    def take(self) -> bytes:
        """Remove and return the key of the next turn, if `next_at` has found one."""
        _, key = heapq.heappop(self._heap)
        del self._at[key]
        return key
