"""Replays that people start on the board: one at a time, with their progress."""

import asyncio
import logging
import time
from dataclasses import dataclass, field

from confluent_kafka import KafkaException

from connectors.board.http.refusal import Refused
from connectors.kafka.cluster import Cluster
from connectors.reasons import reason_of
from connectors.triage.filter import Filter
from connectors.triage.reader import NoSuchDeadLetter
from connectors.triage.replay import PER_SECOND, ReplayFailed, replay, select
from schemas.codec import Codecs

log = logging.getLogger(__name__)

_RECENT_SECONDS = 600.0
# A short replay has ended when the answer comes.
WAIT_SECONDS = 3.0


@dataclass(slots=True)
class ReplayJob:
    """One replay. `chosen` is None until the dead letters are counted; `result` says how it ended
    and is empty before.
    """

    by: str
    chosen: int | None = None
    published: int = 0
    result: str = ""
    failed: bool = False
    started_at: float = field(default_factory=time.monotonic)

    @property
    def is_recent(self) -> bool:
        """Whether it is under way, or began within the last ten minutes."""
        return not self.result or time.monotonic() - self.started_at < _RECENT_SECONDS


class Replays:
    """Runs replays in the background, at a rate that leaves capacity for new callbacks."""

    def __init__(self, cluster: Cluster, codecs: Codecs) -> None:
        self._cluster = cluster
        self._codecs = codecs
        self._task: asyncio.Task[None] | None = None
        self.latest: ReplayJob | None = None

    async def start(self, filter: Filter, by: str, *, again: bool) -> ReplayJob:
        """Start to publish the dead letters again, and wait a short time for the end. `again`
        includes those that were replayed before. Raises Refused while another one is under way.
        """
        if self._task and not self._task.done():
            raise Refused("another replay is under way")
        self.latest = job = ReplayJob(by)
        self._task = asyncio.create_task(asyncio.to_thread(self._run, job, filter, again))
        await asyncio.wait([self._task], timeout=WAIT_SECONDS)
        return job

    def _run(self, job: ReplayJob, filter: Filter, again: bool) -> None:
        try:
            published = self._replay(job, filter, again)
        except (KafkaException, NoSuchDeadLetter, ReplayFailed) as error:
            log.warning("a replay by %r ended early: %s", job.by, reason_of(error))
            job.failed, job.result = True, reason_of(error)
        else:
            job.result = f"{published} published again"

    def _replay(self, job: ReplayJob, filter: Filter, again: bool) -> int:
        letters = select(self._cluster, self._codecs, filter, again=again)
        job.chosen = len(letters)
        log.info("replaying %d dead letters for %r", len(letters), job.by)

        def advance(number: int) -> None:
            job.published += number

        published = replay(
            *(self._cluster, self._codecs, letters, job.by), per_second=PER_SECOND, advance=advance
        )
        return published.total()
