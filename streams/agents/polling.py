"""When to look links up again, which are stale, which to forget: a schedule over the worker's rows.

It has nothing that is not in the rows. After a restart, or on another worker, it is built again,
in the background: all agents share one loop, so no tick may take long.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from schemas.codec import BadRecord, Codecs
from schemas.records import ENDED, Anomaly, LinkStatus
from streams.agents.turns import NEVER, Turns
from streams.domain.anomaly import anomaly
from streams.domain.link_status import is_issued
from streams.domain.polling import (
    Intervals,
    forget_at,
    mark_stale,
    next_lookup_at,
    stale_at,
    stale_evidence,
)
from streams.domain.rules import ProviderRules
from streams.domain.track import TrackOutcome, lookup_request
from streams.engine.table import TablePartition

log = logging.getLogger(__name__)

# The most rows that one tick schedules, and the longest time (seconds) that it takes for that and
# for passing over ended links. The newest rows come first: they are due first.
ROWS_PER_TICK = 2_000
SECONDS_PER_TICK = 0.02
# The most ended links between two looks at the clock, for each partition.
_ENDED_AT_ONCE = 50
# The most links that are due in one tick, the longest overdue first, and the most of their lookups:
# more would only wait in the topic, before those that claims need.
LINKS_PER_TICK = 500
LOOKUPS_PER_TICK = 50
# The most lookups without a readable answer for a link that was never issued. The wait doubles each
# time, so they take some days.
_MOST_LOOKUPS = 12


class _Schedule:
    """When the links of one table partition are due.

    `changed` are the keys of rows that have changed since they were scheduled, `restored` those of
    rows that have not been looked at, the oldest first. `unanswered` counts the lookups since the
    last change.
    """

    def __init__(self, table: TablePartition[LinkStatus]) -> None:
        self.table = table
        # Pending rows come from the batch that creates the schedule, so nothing else schedules
        # them. If the batch is aborted, there is no row under such a key.
        self.changed: dict[bytes, None] = dict.fromkeys(table.pending_keys())
        self.restored: list[bytes] = table.committed_keys()
        self.turns = Turns()
        self.unanswered: dict[bytes, int] = {}

    def drop(self, key: bytes) -> None:
        self.turns.drop(key)
        self.unanswered.pop(key, None)


def _row(table: TablePartition[LinkStatus], key: bytes) -> LinkStatus | None:
    """Return a row, or None if there is none that can be decoded: it must not stop the others."""
    try:
        return table.get(key, keep=False)
    except BadRecord as error:
        log.error("cannot poll the link %r, because its row cannot be decoded: %s", key, error)
        return None


class Poller:
    """Tells which links are due for a lookup, which have become stale, and which to forget."""

    def __init__(
        self,
        codecs: Codecs,
        rules: Mapping[str, ProviderRules],
        intervals: Intervals,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._codecs = codecs
        self._rules = rules
        self._intervals = intervals
        self._clock = clock
        self._schedules: dict[int, _Schedule] = {}

    def touch(self, partition: int, key: bytes) -> None:
        """Schedule an open link again: its row has changed."""
        schedule = self._schedules.get(partition)
        if schedule is not None:
            schedule.changed[key] = None

    def due(
        self, tables: Mapping[int, TablePartition[Any]], now: int
    ) -> Iterator[tuple[int, bytes, TrackOutcome | None]]:
        """Yield partition, key and outcome of the links that are due at `now` (microseconds); None
        for a link to forget.

        A link that gets a lookup is scheduled again. A link becomes stale once.
        """
        self._update_schedules(tables)
        self._schedule_some()
        lookups = 0
        for _ in range(LINKS_PER_TICK):
            schedules = self._schedules.items()
            at, number = min(((s.turns.next_at(), n) for n, s in schedules), default=(NEVER, 0))
            if at > now or lookups == LOOKUPS_PER_TICK:
                return
            schedule = self._schedules[number]
            key = schedule.turns.take()
            row = _row(schedule.table, key)
            if row is not None:
                outcome = self._check(schedule, key, row, now)
                lookups += outcome is not None and outcome.lookup is not None
                yield number, key, outcome

    def _check(
        self, schedule: _Schedule, key: bytes, row: LinkStatus, now: int
    ) -> TrackOutcome | None:
        forget = self._forget_at(row)
        if forget is not None and forget <= now:
            schedule.drop(key)
            return None
        anomalies: tuple[Anomaly, ...] = ()
        stale = stale_at(row, self._intervals)
        if stale is not None and stale <= now:
            detail = stale_evidence(row)
            anomalies = (anomaly(row["provider"], row["link_id"], "STALE", detail, now),)
            row = mark_stale(row, now)
        lookup, due = None, self._next_lookup_at(row)
        lookups = schedule.unanswered.get(key, 0)
        if lookups >= _MOST_LOOKUPS and not is_issued(row):
            due = None
        if due is not None and due <= now:
            lookup = lookup_request(row, "POLL", now, row["claimed_status"])
            due = now + min(self._intervals.first << min(lookups, 20), self._intervals.longest)
            schedule.unanswered[key] = lookups + 1
        self._put(schedule, key, row, due)
        return TrackOutcome(row, anomalies, lookup)

    def _next_lookup_at(self, row: LinkStatus) -> int | None:
        rules = self._rules.get(row["provider"])
        return next_lookup_at(row, rules, self._intervals) if rules else None

    def _forget_at(self, row: LinkStatus) -> int | None:
        at = forget_at(row, self._intervals)
        return None if at is None else at + self._intervals.late

    def _put(self, schedule: _Schedule, key: bytes, row: LinkStatus, due: int | None) -> None:
        stale = stale_at(row, self._intervals)
        times = [at for at in (due, stale, self._forget_at(row)) if at is not None]
        if times:
            schedule.turns.put(key, min(times))

    def _update_schedules(self, tables: Mapping[int, TablePartition[Any]]) -> None:
        """Drop the schedules of lost partitions, and create those of restored ones."""
        for number in self._schedules.keys() - tables.keys():
            del self._schedules[number]
        for number, table in tables.items():
            known = self._schedules.get(number)
            if known is None or known.table is not table:
                self._schedules[number] = _Schedule(table)

    def _schedule_some(self) -> None:
        """Schedule changed and restored rows within the limits of a tick. Partitions take turns."""
        ends_at = self._clock() + SECONDS_PER_TICK
        scheduled = 0
        while scheduled < ROWS_PER_TICK and self._clock() < ends_at:
            waiting = [s for s in self._schedules.values() if s.changed or s.restored]
            if not waiting:
                return
            left = ROWS_PER_TICK - scheduled
            scheduled += sum(map(self._schedule_next, waiting[:left]))

    def _schedule_next(self, schedule: _Schedule) -> bool:
        """Schedule the next open link. Return False if only ended ones were found."""
        key = self._next_unscheduled(schedule)
        if key is None:
            return False
        schedule.drop(key)
        row = _row(schedule.table, key)
        if row is not None:
            self._put(schedule, key, row, self._next_lookup_at(row))
        return True

    def _next_unscheduled(self, schedule: _Schedule) -> bytes | None:
        if schedule.changed:
            return schedule.changed.popitem()[0]
        for _ in range(min(len(schedule.restored), _ENDED_AT_ONCE)):
            key = schedule.restored.pop()
            encoded = schedule.table.encoded(key)
            if encoded is not None and key not in schedule.turns and self._is_open(encoded):
                return key
        return None

    def _is_open(self, encoded: bytes) -> bool:
        try:
            return self._codecs.peek_status(encoded) not in ENDED
        except (BadRecord, IndexError) as error:
            # An unknown release wrote the row. The link's next event becomes a dead letter.
            log.error("cannot poll a link, because its row cannot be decoded: %s", error)
            return False
