"""When to ask again: a schedule over the rows of the worker's own partitions.

It holds nothing that the rows do not say: after a restart, or on another worker, it is made anew.
"""

import heapq
from collections.abc import Iterator, Mapping
from typing import Any

from schemas.codec import peek_status
from schemas.records import LinkStatus, LookupRequest
from streams.domain.polling import Intervals, due_at, is_stale, mark_stale
from streams.domain.rules import ENDED, ProviderRules
from streams.domain.tracking import Tracked, anomaly, lookup_request
from streams.engine.table import Partition

# Rows decoded and placed in a tick at most: a restore of many open links is spread over many ticks.
_PLACED_A_TICK = 2_000


class _Schedule:
    """Of one table partition: keys to be placed, and a heap of (due, key, times asked in vain)."""

    def __init__(self, table: Partition[LinkStatus]) -> None:
        self.table = table
        self.unplaced: dict[bytes, None] = dict.fromkeys(_open_keys(table))
        self.heap: list[tuple[int, bytes, int]] = []


def _open_keys(table: Partition[LinkStatus]) -> Iterator[bytes]:
    for key in table.committed_keys():
        encoded = table.encoded(key)
        if encoded is not None and peek_status(encoded) not in ENDED:
            yield key


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
    ) -> Iterator[tuple[bytes, LookupRequest]]:
        """The questions that are due, each put off until it is due again."""
        for schedule in self._ours(tables):
            self._place(schedule)
            while schedule.heap and schedule.heap[0][0] <= now:
                _, key, tries = heapq.heappop(schedule.heap)
                row = schedule.table.get(key)
                due = row and due_at(row, self._rules[row["provider"]], self._intervals)
                if row is None or due is None or due > now:
                    continue
                wait = min(self._intervals.first << min(tries, 20), self._intervals.longest)
                heapq.heappush(schedule.heap, (now + wait, key, tries + 1))
                yield key, lookup_request(row, "POLL", now, row["claimed_status"])

    def stale(
        self, tables: Mapping[int, Partition[Any]], now: int
    ) -> Iterator[tuple[int, bytes, Tracked]]:
        """The links found stale among those whose question is due; each once."""
        for partition, schedule in list(self._schedules.items()):
            if tables.get(partition) is not schedule.table:
                continue
            for due, key, _ in schedule.heap[:_PLACED_A_TICK]:
                row = schedule.table.get(key) if due <= now else None
                if row is not None and is_stale(row, now, self._intervals):
                    marked = mark_stale(row, now)
                    detail = "open well past its expiry, and the provider is silent"
                    yield partition, key, Tracked(marked, (anomaly(marked, "STALE", detail, now),))

    def _ours(self, tables: Mapping[int, Partition[Any]]) -> list[_Schedule]:
        """The schedules of the partitions that are now ours, new ones for those just restored."""
        for number in [n for n in self._schedules if n not in tables]:
            del self._schedules[number]
        for number, table in tables.items():
            known = self._schedules.get(number)
            if known is None or known.table is not table:
                self._schedules[number] = _Schedule(table)
        return list(self._schedules.values())

    def _place(self, schedule: _Schedule) -> None:
        for _ in range(min(len(schedule.unplaced), _PLACED_A_TICK)):
            key, _none = schedule.unplaced.popitem()
            row = schedule.table.get(key)
            due = row and due_at(row, self._rules[row["provider"]], self._intervals)
            if due is not None and row is not None:
                heapq.heappush(schedule.heap, (due, key, 0))
