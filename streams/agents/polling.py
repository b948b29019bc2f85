"""When to ask again, and what has become stale: a schedule over the rows of the worker's own
partitions.

It holds nothing that the rows do not say: after a restart, or on another worker, it is made anew.
"""

import heapq
import logging
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from schemas.codec import BadRecord, peek_status
from schemas.records import ENDED, Anomaly, LinkStatus
from streams.domain.polling import (
    Intervals,
    due_at,
    is_ours,
    mark_stale,
    stale_at,
    stale_evidence,
)
from streams.domain.rules import ProviderRules
from streams.domain.tracking import Tracked, anomaly, lookup_request
from streams.engine.table import Partition

log = logging.getLogger(__name__)

# Rows decoded and placed in a tick at most: a restore of many open links is spread over many ticks.
_PLACED_A_TICK = 2_000
# How often a link that nobody has vouched for is asked about without an answer that can be read:
# with waits that double, over some days.
_MOST_TRIES = 12


class _Turn(NamedTuple):
    """When a link is to be looked at, and how often it was asked about in vain before."""

    at: int
    key: bytes
    tries: int = 0


class _Schedule:
    """Of one table partition. `turns` holds each link's one turn; a turn in the heap that is not
    the link's own has been overtaken.
    """

    def __init__(self, table: Partition[LinkStatus]) -> None:
        self.table = table
        self.unplaced: dict[bytes, None] = dict.fromkeys(_open_keys(table))
        self.turns: dict[bytes, _Turn] = {}
        self._heap: list[_Turn] = []

    def put(self, turn: _Turn) -> None:
        self.turns[turn.key] = turn
        heapq.heappush(self._heap, turn)

    def due(self, now: int) -> Iterator[_Turn]:
        """Takes out the turns that have come."""
        while self._heap and self._heap[0].at <= now:
            turn = heapq.heappop(self._heap)
            if self.turns.get(turn.key) is turn:
                del self.turns[turn.key]
                yield turn


def _open_keys(table: Partition[LinkStatus]) -> Iterator[bytes]:
    """Also of rows still pending: their records came in the batch that begins the schedule, before
    there was one to be placed in. Should the batch be aborted, they are found to be nothing.
    """
    yield from table.pending_keys()
    for key in table.committed_keys():
        encoded = table.encoded(key)
        if encoded is not None and _is_open(encoded):
            yield key


def _is_open(encoded: bytes) -> bool:
    try:
        return peek_status(encoded) not in ENDED
    except BadRecord as error:
        # Of a release that nobody here knows. Its next event says so in a dead letter.
        log.error("a link is not polled, its row cannot be read: %s", error)
        return False


class Poller:
    """Which links are due for a question, and which have become stale."""

    def __init__(self, rules: Mapping[str, ProviderRules], intervals: Intervals) -> None:
        self._rules = rules
        self._intervals = intervals
        self._schedules: dict[int, _Schedule] = {}

    def touch(self, partition: int, key: bytes) -> None:
        """An open link's row has changed: it is to be placed anew."""
        schedule = self._schedules.get(partition)
        if schedule is not None:
            schedule.unplaced[key] = None

    def due(
        self, tables: Mapping[int, Partition[Any]], now: int
    ) -> Iterator[tuple[int, bytes, Tracked]]:
        """What time alone brings about, by partition and key: questions, each put off until it is
        due again, and links that have become stale, each once.
        """
        for number, schedule in self._ours(tables):
            self._place(schedule)
            for turn in schedule.due(now):
                row = schedule.table.get(turn.key)
                if row is not None:
                    yield number, turn.key, self._look(schedule, turn, row, now)

    def _look(self, schedule: _Schedule, turn: _Turn, row: LinkStatus, now: int) -> Tracked:
        anomalies: tuple[Anomaly, ...] = ()
        lookup = None
        stale = stale_at(row, self._intervals)
        if stale is not None and stale <= now:
            anomalies = (anomaly(row, "STALE", stale_evidence(row), now),)
            row = mark_stale(row, now)
        due = self._due_at(row)
        if turn.tries >= _MOST_TRIES and not is_ours(row):
            due = None
        if due is not None and due <= now:
            lookup = lookup_request(row, "POLL", now, row["claimed_status"])
            due = now + min(self._intervals.first << min(turn.tries, 20), self._intervals.longest)
        self._put(schedule, turn.key, row, due, turn.tries + (lookup is not None))
        return Tracked(row, anomalies, lookup)

    def _due_at(self, row: LinkStatus) -> int | None:
        rules = self._rules.get(row["provider"])
        return due_at(row, rules, self._intervals) if rules else None

    def _put(
        self, schedule: _Schedule, key: bytes, row: LinkStatus, due: int | None, tries: int = 0
    ) -> None:
        moments = [at for at in (due, stale_at(row, self._intervals)) if at is not None]
        if moments:
            schedule.put(_Turn(min(moments), key, tries))

    def _ours(self, tables: Mapping[int, Partition[Any]]) -> list[tuple[int, _Schedule]]:
        """The schedules of the partitions that are now ours, new ones for those just restored."""
        for number in [n for n in self._schedules if n not in tables]:
            del self._schedules[number]
        for number, table in tables.items():
            known = self._schedules.get(number)
            if known is None or known.table is not table:
                self._schedules[number] = _Schedule(table)
        return list(self._schedules.items())

    def _place(self, schedule: _Schedule) -> None:
        for _ in range(min(len(schedule.unplaced), _PLACED_A_TICK)):
            key, _none = schedule.unplaced.popitem()
            row = schedule.table.get(key)
            schedule.turns.pop(key, None)
            if row is not None:
                self._put(schedule, key, row, self._due_at(row))
