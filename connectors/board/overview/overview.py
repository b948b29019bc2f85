"""The first page, for people and programs: what flows now, and what is wrong."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Lock, Thread
from typing import Any

from prometheus_client import Gauge

from connectors.board.database import waiting_orders
from connectors.board.database.store import Store, StoreUnavailable
from connectors.board.database.summary import RecentEvents, Summary, summarize
from connectors.board.database.threads import run_to_end
from connectors.board.database.waiting import PATIENCE, Party
from connectors.board.overview.problems import Problem, problems
from connectors.board.overview.process_health import HealthMonitor
from connectors.board.overview.refused_callbacks import explained
from connectors.clock import micros_now

log = logging.getLogger(__name__)

# Counting a million links takes part of a second. All readers share one summary, which takes at
# most a tenth of the time. While one that takes long is made, the last one is shown, up to an age.
_SHARED_SECONDS = 1.0
_REST = 10
_LONG_SECONDS = 0.05
_OLDEST_SECONDS = 10.0
_WATCH_SECONDS = 15.0
_OVERDUE = Gauge(
    "linkstatus_orders_overdue",
    "Orders that have waited too long, by whom they wait for",
    ["provider", "waits_for"],
)


@dataclass(slots=True)
class Overview:
    """The summary of the store and the problems that follow from it. `kinds` are the providers of
    the configured connections. `behind` returns why the store is not up to date, or None. Blocking.
    """

    store: Store
    configured: Sequence[str]
    kinds: Mapping[str, str]
    monitor: HealthMonitor
    behind: Callable[[], str | None]
    patience: Mapping[Party, float] = field(default_factory=lambda: PATIENCE)
    _summary: Summary | None = None
    _took: float = 0.0
    _valid_until: float = 0.0
    _counting: Lock = field(default_factory=Lock)

    def summary(self) -> Summary:
        """Return a summary that is at most a second old, or ten times what making one takes; while
        the next one is made, the last one. Requests of the same time share one.
        """
        late = time.monotonic() - self._valid_until
        if self._summary is not None and late < 0:
            return self._summary
        if self._summary is None or self._took < _LONG_SECONDS or late > _OLDEST_SECONDS:
            with self._counting:
                if self._summary is None or time.monotonic() >= self._valid_until:
                    self._summary = self._count()
            return self._summary
        if self._counting.acquire(blocking=False):
            Thread(target=self._count_again, name="board-summary", daemon=True).start()
        return self._summary

    def _count_again(self) -> None:
        try:
            self._summary = self._count()
        except StoreUnavailable as error:
            log.warning("board: no new summary: %s", error)
        finally:
            self._counting.release()

    def _count(self) -> Summary:
        began = time.monotonic()
        summary = summarize(self.store, micros_now(), self.patience)
        now = time.monotonic()
        self._took = now - began
        self._valid_until = now + max(_SHARED_SECONDS, _REST * self._took)
        return summary

    async def watch(self) -> None:
        """Count the orders that wait too long in a metric, forever."""
        while True:
            with suppress(StoreUnavailable):
                arguments = self.store, micros_now(), self.patience
                overdue = await run_to_end(waiting_orders.overdue, *arguments)
                # The answer to a scrape is written in the event loop, too: never in between.
                _OVERDUE.clear()
                for one in overdue:
                    _OVERDUE.labels(one.provider, one.waits_for).inc(one.number)
            await asyncio.sleep(_WATCH_SECONDS)

    def providers(self) -> list[str]:
        """Return the configured connections, then those that only stored links know."""
        return list(dict.fromkeys((*self.configured, *sorted(self.summary().links))))

    def problems(self) -> list[Problem]:
        """Return all problems, the urgent ones first."""
        return problems(self.summary(), self.monitor.processes, self.behind())

    def as_json(self) -> dict[str, Any]:
        """Return the answer for programs; times in microseconds, UTC."""
        summary = self.summary()
        return {
            "problems": self.problems(),
            "providers": {
                name: {"provider": self.kinds.get(name), **_provider_json(summary, name)}
                for name in self.providers()
            },
            "refused_callbacks": list(explained(summary.refused)),
            "anomalies_open": sum(group.number for group in summary.anomalies),
            "dead_letters_open": summary.dead_letters_open,
            "verified": summary.verified,
        }


def _provider_json(summary: Summary, name: str) -> dict[str, Any]:
    events = summary.events.get(name, RecentEvents())
    return {
        "links": summary.links.get(name, {}),
        "events_within_hour": sum(events.by_minute),
        "last_event_at": events.last_at,
    }
