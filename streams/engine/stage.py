"""A stage: a Faust service that feeds one agent with transactional batches from a thread of its
own.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import CancelledError
from concurrent.futures import TimeoutError as NotYet
from typing import Any

import faust
from confluent_kafka import KafkaException, Message
from mode import Service
from prometheus_client import Counter, Histogram

from connectors import tracing
from connectors.kafka import Cluster
from schemas.topics import all_topics
from streams.engine.batch import Batch
from streams.engine.session import Session, StageSpec
from streams.engine.table import Partition

log = logging.getLogger(__name__)

RECORDS = Counter("linkstatus_stage_records_total", "Records a stage has committed.", ["stage"])
REJOINS = Counter("linkstatus_stage_rejoins_total", "Sessions ended by an error.", ["stage"])
BATCH_SECONDS = Histogram(
    "linkstatus_stage_batch_seconds", "From records taken to transaction committed.", ["stage"]
)

_LONGEST_PAUSE = 2.0
# A thread that waits for an absent broker cannot be interrupted: it ends with the process, and what
# it had in hand never was.
_ENDING_SECONDS = 8.0


class Stage(Service):
    """Between Kafka and an agent: `channel` is what the agent is registered on."""

    def __init__(self, app: faust.App, spec: StageSpec, cluster: Cluster, instance: str) -> None:
        super().__init__()
        self.app = app
        self.spec = spec
        self.channel: Any = app.channel(maxsize=1)
        self.tables: dict[int, Partition[Any]] = {}
        self._partitions: frozenset[tuple[str, int]] = frozenset()
        self.joined = False
        # How many records the thread has committed.
        self.committed = 0
        self._cluster = cluster
        self._codecs = {cluster.topic(t.name): t.codec for t in all_topics(()) if t.codec}
        self._instance = instance
        self._tick: int | None = None
        self._ending = threading.Event()
        self._end_by = 0.0
        self._thread = threading.Thread(target=self._run, name=f"stage-{spec.name}", daemon=True)

    async def on_started(self) -> None:
        """Starts the thread, in the event loop that runs the app."""
        self._running = asyncio.get_running_loop()
        self._thread.start()

    def end_soon(self) -> None:
        """Takes no further batch; `stop` then waits for the one in hand, not for long."""
        if not self._ending.is_set():
            self._end_by = time.monotonic() + _ENDING_SECONDS
            self._ending.set()

    async def on_stop(self) -> None:
        """Lets the batch in hand finish, leaves the group."""
        self.end_soon()
        left = max(0.0, self._end_by - time.monotonic())
        await asyncio.get_running_loop().run_in_executor(None, self._thread.join, left)

    def tick(self, now: int) -> None:
        """Asks for a batch at time `now` (microseconds) even if no record comes: for time-driven
        work.
        """
        self._tick = now

    def holds(self) -> list[tuple[str, int]]:
        """Topic (with prefix) and number of the partitions this stage now has."""
        return list(self._partitions)

    def _run(self) -> None:
        pause = 0.1
        while not self._ending.is_set():
            joined_at = time.monotonic()
            try:
                self._session()
            except Exception as error:
                REJOINS.labels(self.spec.name).inc()
                log.warning(
                    "%s: rejoining after %s",
                    self.spec.name,
                    error,
                    exc_info=not isinstance(error, KafkaException),
                )
            if time.monotonic() - joined_at > 10:
                pause = 0.1
            self._ending.wait(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _session(self) -> None:
        session = Session(self.spec, self._cluster, self._instance, self.tables, self._on_assigned)
        try:
            session.open()
            while not self._ending.is_set():
                self._round(session)
        finally:
            self.joined = False
            self._partitions = frozenset()
            session.close()

    def _on_assigned(self, partitions: frozenset[tuple[str, int]]) -> None:
        self._partitions = partitions
        self.joined = True

    def _round(self, session: Session) -> None:
        messages = session.take(0.25)
        self._learn(messages)
        tick, self._tick = self._tick, None
        if not messages and tick is None:
            return
        began = time.time_ns()
        with BATCH_SECONDS.labels(self.spec.name).time():
            batch = Batch(self.spec.name, messages, self.tables, self._cluster.prefix, tick)
            self._hand_over(batch)
            if messages or batch.outputs:
                session.commit(batch)
        self.committed += len(messages)
        RECORDS.labels(self.spec.name).inc(len(messages))
        batch.committed()
        if tracing.on():
            tracing.handled(self.spec.name, messages, began, time.time_ns())

    def _learn(self, messages: Sequence[Message]) -> None:
        """What the records were written with, asked from here: whoever knows may take long, and the
        agents' loop serves the probes too. Raises SchemaAway.
        """
        for message in messages:
            codec = self._codecs.get(message.topic() or "")
            if codec is not None:
                codec.learn(message.value())

    def _hand_over(self, batch: Batch) -> None:
        """Gives the batch to the agent and waits for its end. Raises what the agent raised."""
        putting = asyncio.run_coroutine_threadsafe(self._put(batch), self._running)
        while True:
            try:
                batch.finished.result(0.5)
                return
            except NotYet:
                if self._ending.is_set() and self.should_stop:
                    putting.cancel()
                    raise CancelledError from None

    async def _put(self, batch: Batch) -> None:
        # A batch put before the agent listens would be heard by nobody.
        while not self.channel.subscriber_count:
            await asyncio.sleep(0.01)
        await self.channel.put(batch)
