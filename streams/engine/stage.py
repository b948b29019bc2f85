"""A stage: a Faust service that feeds its agents with transactional batches, in its own thread."""

import asyncio
import logging
import threading
import time
from collections import deque
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as NotFinished
from contextlib import closing, suppress
from functools import partial
from typing import Any

import faust
from confluent_kafka import KafkaError, KafkaException, Message
from mode import Service
from prometheus_client import Counter, Histogram

from connectors import tracing
from connectors.kafka.cluster import Cluster
from connectors.kafka.progress import Trouble
from streams.engine.batch import Batch
from streams.engine.group import NameTaken
from streams.engine.session import Partitions, Session
from streams.engine.spec import StageSpec
from streams.engine.table import TablePartition

log = logging.getLogger(__name__)

RECORDS = Counter("linkstatus_stage_records_total", "Records a stage has committed.", ["stage"])
REJOINS = Counter("linkstatus_stage_rejoins_total", "Sessions ended by an error.", ["stage"])
BATCH_SECONDS = Histogram(
    "linkstatus_stage_batch_seconds", "From records taken to transaction committed.", ["stage"]
)

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0
# A session that lasts so long resets the pause before the next one.
_STABLE_SECONDS = 10
# So many failed sessions without a commit between them make the worker unready.
_MANY_FAILURES = 3
# A thread that waits for an absent broker cannot be interrupted. After this time it ends with the
# process, and its batch is not committed.
_STOP_SECONDS = 8.0
# How long a stage that ends waits for the end of a rebalance.
_REBALANCE_SECONDS = 3.0
# How long a stage waits for the worker's others before it joins.
_TOGETHER_SECONDS = 3.0


class Stage(Service):
    """Between Kafka and its agents. The agent of each step listens on the step's channel.

    `partitions` are the topics (with prefix) and numbers that the stage holds now. `joined` tells
    whether it is in its group and knows them, `committed` how many records it has committed, and
    `trouble` how its last session failed. The stages of a worker share `start`, to join together:
    each join is a rebalance, in which the whole group stands still.
    """

    def __init__(
        self,
        app: faust.App,
        spec: StageSpec,
        cluster: Cluster,
        instance: str,
        number: int = 0,
        start: threading.Barrier | None = None,
    ) -> None:
        super().__init__()
        self.app = app
        self.spec = spec
        self.tag = f"{spec.name}-{number}"
        self.channels: dict[str, Any] = {step.name: app.channel(maxsize=1) for step in spec.steps}
        self.tables: dict[str, dict[int, TablePartition[Any]]] = {name: {} for name in spec.tables}
        self.partitions: Partitions = frozenset()
        self.joined = False
        self.committed = 0
        # Sessions that failed since the last commit.
        self._failures = 0
        self.trouble = Trouble()
        self._cluster, self._monotonic = cluster, cluster.clients.monotonic
        self._instance = f"{instance}.{number}"
        self._start = start
        # The last ids that this stage has had in its group.
        self._member_ids: deque[str] = deque(maxlen=10)
        self._tick: int | None = None
        self._stopping = threading.Event()
        self._stop_by = 0.0
        self._thread = threading.Thread(target=self._run, name=f"stage-{self.tag}", daemon=True)

    def why_not_ready(self) -> str | None:
        """Return why the stage cannot do its work now, or None."""
        failing = time.monotonic() - self.trouble.at < _STABLE_SECONDS
        error, failures = self.trouble.text, self._failures
        if failing and failures >= _MANY_FAILURES:
            return f"{self.tag}: {failures} sessions have failed; the last one: {error}"
        return None if self.joined else f"{self.tag}: not joined ({error})"

    async def on_started(self) -> None:
        self._agent_loop = asyncio.get_running_loop()
        self._thread.start()

    def end_soon(self) -> None:
        """Start no further batch."""
        if not self._stopping.is_set():
            self._stop_by = self._monotonic() + _STOP_SECONDS
            self._stopping.set()

    async def on_stop(self) -> None:
        """Wait for the current batch, but not for long, and leave the group."""
        self.end_soon()
        await asyncio.get_running_loop().run_in_executor(None, self.await_end)

    def await_end(self) -> None:
        """Wait for the thread's end, but not for long."""
        self._thread.join(max(0.0, self._stop_by - self._monotonic()))

    def tick(self, now: int) -> None:
        """Request a batch with tick `now` (microseconds), even if no record comes."""
        self._tick = now

    def _run(self) -> None:
        pause = _FIRST_PAUSE
        while not self._stopping.is_set():
            started = self._monotonic()
            try:
                self._run_session()
            except Exception as error:
                REJOINS.labels(self.spec.name).inc()
                unexpected = not isinstance(error, KafkaException | NameTaken)
                log.warning("%s: rejoining after %s", self.spec.name, error, exc_info=unexpected)
                self._failures += 1
                self.trouble.note(error)
                if self._monotonic() - started > _STABLE_SECONDS:
                    pause = _FIRST_PAUSE
                if _is_fenced(error):
                    # A worker that has taken this one's name is seen only once it has joined.
                    pause = _LONGEST_PAUSE
            self._stopping.wait(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _run_session(self) -> None:
        session = Session(
            self.spec,
            self._cluster,
            self._instance,
            self.tables,
            self._on_assigned,
            self._stopping,
            self._member_ids,
        )
        try:
            with closing(session):
                self._await_others()
                session.join()
                while not self._stopping.is_set():
                    self._run_round(session)
                session.end_joining(_REBALANCE_SECONDS)
        finally:
            self._on_assigned(None)

    def _await_others(self) -> None:
        """Wait for the worker's other stages before the first join."""
        start, self._start = self._start, None
        if start is not None:
            # Without them after a time: the next rebalance is theirs.
            with suppress(threading.BrokenBarrierError):
                start.wait(_TOGETHER_SECONDS)

    def _on_assigned(self, partitions: Partitions | None) -> None:
        self.partitions = partitions or frozenset()
        self.joined = partitions is not None

    def _run_round(self, session: Session) -> None:
        messages = session.consume(0.25)
        if messages:
            self._run_batch(session, messages)
        tick, self._tick = self._tick, None
        if tick is not None and self.partitions:
            self._run_batch(session, [], tick)

    def _run_batch(
        self, session: Session, messages: list[Message], tick: int | None = None
    ) -> None:
        started = time.time_ns()
        batch = Batch(
            self.spec, messages, self.tables, self._cluster.prefix, session.partition_count, tick
        )
        self.spec.prepare(batch)
        with BATCH_SECONDS.labels(self.spec.name).time():
            batch.walk(partial(self._await_agent, batch))
            if batch.is_to_commit():
                session.commit(batch)
        self.committed += len(messages)
        self._failures = 0
        RECORDS.labels(self.spec.name).inc(len(messages))
        batch.committed()
        if tracing.enabled():
            tracing.add_record_spans(self.spec.name, messages, started, time.time_ns())

    def _await_agent(self, batch: Batch, step: str) -> None:
        """Give the batch to the step's agent and wait for its end. Raise what the agent raised."""
        batch.finished = Future()
        putting = asyncio.run_coroutine_threadsafe(self._put(batch, step), self._agent_loop)
        while True:
            try:
                batch.finished.result(0.5)
                return
            except NotFinished:
                if self._stopping.is_set() and self.should_stop:
                    putting.cancel()
                    raise CancelledError from None

    async def _put(self, batch: Batch, step: str) -> None:
        channel = self.channels[step]
        # Without a subscriber the channel would drop the batch.
        while not channel.subscriber_count:
            await asyncio.sleep(0.01)
        await channel.put(batch)


def _is_fenced(error: Exception) -> bool:
    return isinstance(error, KafkaException) and error.args[0].code() == KafkaError._FENCED
