"""`linkstatus work` as a simulated process: the real stages, sessions, batches and agents.

Faust is left out: a stage calls its agents itself, and ticks come from the simulated clock.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from random import Random
from types import SimpleNamespace
from typing import Any

from confluent_kafka import KafkaError, KafkaException

from connectors.kafka.cluster import Cluster
from connectors.providers.base import Provider
from connectors.reasons import reason_of
from schemas.codec import Codecs, SchemaAway
from streams.agents.agent import Agent
from streams.agents.stages import agents, stage_spec
from streams.domain.polling import Intervals
from streams.domain.rules import ProviderRules
from streams.engine.batch import Batch
from streams.engine.stage import Stage
from tests.simulation.clients import cluster_of
from tests.simulation.cluster import SimulatedKafka
from tests.simulation.scheduler import Process, Thread

_TICK_SECONDS = 1.0
# A batch takes up to so long, now and then.
_SLOW_SECONDS, _SLOW_SHARE = 0.4, 0.05
_APP: Any = SimpleNamespace(channel=lambda maxsize: None)


@dataclass(frozen=True, slots=True)
class FailedSession:
    """A session that an error has ended. `worker` is its place, as faults name it."""

    worker: str
    instance: str
    at: float
    error: Exception

    def __str__(self) -> str:
        return f"{self.instance} at {self.at:.3f} s: {reason_of(self.error)}"

    @property
    def is_fenced(self) -> bool:
        error = self.error.args[0] if isinstance(self.error, KafkaException) else None
        return isinstance(error, KafkaError) and error.code() == KafkaError._FENCED


@dataclass(frozen=True, slots=True)
class Pipeline:
    """What all workers of a run share."""

    codecs: Codecs
    providers: Mapping[str, Provider]
    rules: Mapping[str, ProviderRules]
    intervals: Intervals
    failed_sessions: list[FailedSession] = field(default_factory=list)


class SimulatedEvent:
    """The `threading.Event` of a stage."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._is_set = False
        self._waiting: Thread | None = None

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        self._is_set = True
        if self._waiting is not None:
            self._waiting.wake()

    def wait(self, seconds: float) -> bool:
        if not self._is_set:
            self._waiting = self._process.thread
            self._waiting.wait(seconds)
            self._waiting = None
        return self._is_set


class SimulatedStage(Stage):
    """A stage whose thread is a simulated one."""

    def __init__(
        self,
        process: Process,
        cluster: Cluster,
        pipeline: Pipeline,
        name: str,
        number: int,
        random: Random,
    ) -> None:
        spec = replace(stage_spec(pipeline.codecs, pipeline.providers), prepare=self._prepare)
        self._process, self._random, self._failed = process, random, pipeline.failed_sessions
        self.registry_away_until = self.slow_until = 0.0
        super().__init__(_APP, spec, cluster, name, number)
        self.instance = f"{name}.{number}"
        self._stopping: Any = SimulatedEvent(process)
        self._agents: dict[str, Agent] = agents(
            pipeline.codecs, pipeline.providers, pipeline.rules, pipeline.intervals
        )
        self._thread: Any = process.spawn(self._run)

    def _run_session(self) -> None:
        try:
            super()._run_session()
        except Exception as error:
            at = self._process.scheduler.now
            self._failed.append(FailedSession(self._process.name, self.instance, at, error))
            raise

    def _prepare(self, batch: Batch) -> None:
        """Let the work on the batch take a time, in place of all its steps."""
        now = self._process.scheduler.now
        is_slow = now < self.slow_until or self._random.random() < _SLOW_SHARE
        seconds = _SLOW_SECONDS if is_slow else 0.002
        self._process.thread.wait(seconds * self._random.random())
        if self._process.scheduler.now < self.registry_away_until:
            raise SchemaAway("the registry does not answer")

    def _await_agent(self, batch: Batch, step: str) -> None:
        self._agents[step].handle(batch)


class Worker:
    """A running worker. `now` returns the simulated time in microseconds."""

    def __init__(
        self,
        kafka: SimulatedKafka,
        pipeline: Pipeline,
        name: str,
        threads: int,
        now: Callable[[], int],
    ) -> None:
        self.process = Process(kafka.scheduler, name)
        cluster = cluster_of(kafka, self.process)
        self.stages = [
            SimulatedStage(self.process, cluster, pipeline, name, number, kafka.random)
            for number in range(threads)
        ]
        self._now = now
        # No two workers tick at the same microsecond.
        self.process.later(_TICK_SECONDS * kafka.random.random(), self._tick)
        self.told_to_end_at: float | None = None

    def _tick(self) -> None:
        # Two stages that poll a link in turn, after a rebalance, do not give both lookups one id.
        for number, stage in enumerate(self.stages):
            stage.tick(self._now() + number)
        self.process.later(_TICK_SECONDS, self._tick)

    def lose_registry(self, seconds: float) -> None:
        for stage in self.stages:
            stage.registry_away_until = self.process.scheduler.now + seconds

    def be_slow(self, seconds: float) -> None:
        for stage in self.stages:
            stage.slow_until = self.process.scheduler.now + seconds

    def end(self) -> None:
        """Let the worker end in order, as SIGTERM does. Its process ends with its services, and not
        with its threads.
        """
        if self.told_to_end_at is None:
            self.told_to_end_at = self.process.scheduler.now
            for stage in self.stages:
                stage.end_soon()
            self.process.spawn(self._end)

    def _end(self) -> None:
        for stage in self.stages:
            stage.await_end()
        self.process.scheduler.later(0, self.process.kill)
