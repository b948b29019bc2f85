"""When an order whose close waits for amounts is closed without them: a schedule over the worker's
rows.

It has nothing that is not in the rows. After a restart, or on another worker, it is built again,
in the background, and each wait begins again: the answer may be among the records that waited.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from schemas.codec import BadRecord, Codecs
from schemas.records import OrderStatus
from streams.agents.turns import NEVER, Turns
from streams.engine.table import TablePartition

log = logging.getLogger(__name__)

# The longest time (seconds) that a tick takes to look at restored rows, the newest first, and how
# many it looks at between two looks at the clock.
SECONDS_PER_TICK = 0.02
_ROWS_AT_ONCE = 50
# The most orders that are closed in one tick, the longest overdue first.
ORDERS_PER_TICK = 500


class _Schedule:
    """When the waiting orders of one table partition are due.

    `changed` are the keys of rows that wait since the last tick, `restored` those of rows that have
    not been looked at, the oldest first.
    """

    def __init__(self, table: TablePartition[OrderStatus]) -> None:
        self.table = table
        self.changed: dict[bytes, None] = dict.fromkeys(table.pending_keys())
        self.restored: list[bytes] = table.committed_keys()
        self.turns = Turns()

    def waiting(self, key: bytes) -> tuple[OrderStatus, int] | None:
        """Return the row and since when it waits, or None. A row that cannot be decoded does not
        wait: it must not stop the others.
        """
        try:
            row = self.table.get(key, keep=False)
        except BadRecord as error:
            log.error("cannot time the order %r, because its row cannot be decoded: %s", key, error)
            return None
        since = row and row["details_awaited_since"]
        return None if row is None or since is None else (row, since)


class CloseTimer:
    """Tells which orders have waited for amounts for `wait` microseconds."""

    def __init__(
        self, codecs: Codecs, wait: int, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._codecs = codecs
        self._wait = wait
        self._clock = clock
        self._schedules: dict[int, _Schedule] = {}
        self._ticked_at: int | None = None

    def touch(self, partition: int, key: bytes) -> None:
        """Note that an order begins to wait."""
        schedule = self._schedules.get(partition)
        if schedule is not None:
            schedule.changed[key] = None

    def due(
        self, tables: Mapping[int, TablePartition[Any]], now: int
    ) -> Iterator[tuple[int, bytes, OrderStatus]]:
        """Yield partition, key and row of the orders whose wait has ended at `now` (microseconds).

        A wait counts from the tick before the order was touched, at the earliest: a worker that was
        away for long asks late, and must not close before the answer can come.
        """
        self._update_schedules(tables)
        self._schedule_changed(now, now if self._ticked_at is None else self._ticked_at)
        self._schedule_restored(now)
        self._ticked_at = now
        for _ in range(ORDERS_PER_TICK):
            schedules = self._schedules.items()
            at, number = min(((s.turns.next_at(), n) for n, s in schedules), default=(NEVER, 0))
            if at > now:
                return
            schedule = self._schedules[number]
            key = schedule.turns.take()
            if waiting := schedule.waiting(key):
                yield number, key, waiting[0]

    def _update_schedules(self, tables: Mapping[int, TablePartition[Any]]) -> None:
        """Drop the schedules of lost partitions, and create those of restored ones."""
        for number in self._schedules.keys() - tables.keys():
            del self._schedules[number]
        for number, table in tables.items():
            known = self._schedules.get(number)
            if known is None or known.table is not table:
                self._schedules[number] = _Schedule(table)

    def _schedule_changed(self, now: int, ticked_at: int) -> None:
        for schedule in self._schedules.values():
            while schedule.changed:
                key, _ = schedule.changed.popitem()
                if waiting := schedule.waiting(key):
                    begun = max(min(waiting[1], now), ticked_at)
                    schedule.turns.put(key, begun + self._wait)

    def _schedule_restored(self, now: int) -> None:
        ends_at = self._clock() + SECONDS_PER_TICK
        waiting = [schedule for schedule in self._schedules.values() if schedule.restored]
        while waiting and self._clock() < ends_at:
            for schedule in waiting:
                self._look_at_some(schedule, now)
            waiting = [schedule for schedule in waiting if schedule.restored]

    def _look_at_some(self, schedule: _Schedule, now: int) -> None:
        for _ in range(min(len(schedule.restored), _ROWS_AT_ONCE)):
            key = schedule.restored.pop()
            encoded = schedule.table.encoded(key)
            if encoded is None or key in schedule.turns or not self._is_open(encoded):
                continue
            if schedule.waiting(key):
                schedule.turns.put(key, now + self._wait)

    def _is_open(self, encoded: bytes) -> bool:
        try:
            return self._codecs.peek_state(encoded) == "OPEN"
        except (BadRecord, IndexError) as error:
            # An unknown release wrote the row. The order's next event becomes a dead letter.
            log.error("cannot time an order, because its row cannot be decoded: %s", error)
            return False
