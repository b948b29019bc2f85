"""Replays that somebody asked for on the page: one at a time, with what became of it."""

import asyncio
import logging
import time
from dataclasses import dataclass, field

from confluent_kafka import KafkaException

from connectors.kafka import Cluster
from connectors.letters.letter import Wanted
from connectors.letters.reading import NoSuchLetter
from connectors.letters.replay import PER_SECOND, NotReplayed, chosen, replay

log = logging.getLogger(__name__)

_TOLD_SECONDS = 600.0


class Busy(Exception):
    """Another replay is under way."""


@dataclass(slots=True)
class Errand:
    """One replay. `chosen` is None until they are counted; `over` says how it ended."""

    by: str
    chosen: int | None = None
    done: int = 0
    over: str = ""
    failed: bool = False
    began_at: float = field(default_factory=time.monotonic)

    @property
    def worth_telling(self) -> bool:
        """Whether it is under way, or was a while ago."""
        return not self.over or time.monotonic() - self.began_at < _TOLD_SECONDS


class Replays:
    """Runs replays in the background, at a rate that leaves the rest its share."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._task: asyncio.Task[None] | None = None
        self.latest: Errand | None = None

    def start(self, wanted: Wanted, by: str, *, again: bool) -> "asyncio.Task[None]":
        """Begins to publish the wanted ones once more; `again` includes those that were before.
        Raises Busy.
        """
        if self._task and not self._task.done():
            raise Busy
        self.latest = errand = Errand(by)
        self._task = asyncio.create_task(asyncio.to_thread(self._run, errand, wanted, again))
        return self._task

    def _run(self, errand: Errand, wanted: Wanted, again: bool) -> None:
        try:
            sent = self._replayed(errand, wanted, again)
        except (KafkaException, NoSuchLetter, NotReplayed) as error:
            log.warning("a replay by %r ended early: %s", errand.by, error)
            errand.failed, errand.over = True, str(error)
        else:
            errand.over = f"{sent} published again"

    def _replayed(self, errand: Errand, wanted: Wanted, again: bool) -> int:
        letters = chosen(self._cluster, wanted, again=again)
        errand.chosen = len(letters)
        log.info("replaying %d dead letters for %r", len(letters), errand.by)

        def count(more: int) -> None:
            errand.done += more

        sent = replay(self._cluster, letters, errand.by, per_second=PER_SECOND, done=count)
        return sent.total()
