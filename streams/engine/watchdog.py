"""Turns a silent stall into an end: records wait, the broker answers, and nothing moves."""

import asyncio
import logging
import os
import time
from collections.abc import Sequence

from confluent_kafka import Consumer, KafkaException, TopicPartition
from mode import Service
from prometheus_client import Gauge

from connectors.kafka import Cluster
from streams.engine.stage import Stage

log = logging.getLogger(__name__)

LAG = Gauge(
    "linkstatus_stage_lag_records",
    "Records not yet committed in the partitions that this worker holds.",
    ["stage"],
)


# Topic, partition, committed offset and end of each partition.
_Places = tuple[tuple[str, int, int, int], ...]


class Watchdog(Service):
    """Compares committed with end offsets. Ends the process with 1, for a supervisor to restart it,
    when a stage of this worker has had records waiting for `stall_seconds` and has committed
    nothing.
    """

    def __init__(self, stages: Sequence[Stage], cluster: Cluster, stall_seconds: float) -> None:
        super().__init__()
        self._stages = stages
        self._cluster = cluster
        self._stall_seconds = stall_seconds
        self._seen: dict[str, tuple[int, float]] = {}
        self._last: dict[str, _Places] = {}
        # Where nothing but markers of transactions stood behind the committed offsets.
        self._empty: dict[str, _Places] = {}

    @Service.task
    async def _watch(self) -> None:
        while not self.should_stop:
            await self.sleep(min(5.0, self._stall_seconds / 4))
            for stage in self._stages:
                await self._check(stage)

    async def _check(self, stage: Stage) -> None:
        name, now = stage.spec.name, time.monotonic()
        try:
            # While the broker is away the question takes long: an end of the worker does not wait.
            asked = await self.wait(asyncio.to_thread(self._waiting, stage))
            if asked.stopped:
                return
            places: _Places = asked.result
            waiting = await self._real(stage, places)
        except KafkaException as error:
            # Nobody moves while the broker is away; that is no stall of ours.
            log.info("%s: lag unknown: %s", name, error)
            self._seen[name] = (stage.committed, now)
            return
        LAG.labels(name).set(waiting)
        committed, since = self._seen.get(name, (-1, now))
        if not waiting or committed != stage.committed:
            self._seen[name] = (stage.committed, now)
        elif now - since > self._stall_seconds:
            found = await asyncio.to_thread(self._has_record, stage)
            if found is not True:
                return
            log.critical(
                "%s: %d records wait and nothing was committed for %.0f s: ending for a restart",
                name,
                waiting,
                now - since,
            )
            os._exit(1)

    async def _real(self, stage: Stage, places: _Places) -> int:
        """How many records wait. Markers take offsets too and are never committed: at rest, when
        nothing has moved since the last look, somebody looks whether there is more than those.
        """
        name = stage.spec.name
        waiting = sum(end - committed for _, _, committed, end in places)
        at_rest, self._last[name] = self._last.get(name) == places, places
        if waiting and at_rest and self._empty.get(name) != places:
            asked = await self.wait(asyncio.to_thread(self._has_record, stage))
            if not asked.stopped and asked.result is False:
                self._empty[name] = places
        return 0 if self._empty.get(name) == places else waiting

    def _waiting(self, stage: Stage) -> _Places:
        """The partitions that this worker holds."""
        client = self._client(stage, "read_committed")
        try:
            places = []
            for partition in self._committed(stage):
                low, high = client.get_watermark_offsets(partition, timeout=5)
                committed = min(max(partition.offset, low), high)
                places.append((partition.topic, partition.partition, committed, high))
            return tuple(places)
        finally:
            client.close()

    def _has_record(self, stage: Stage) -> bool | None:
        """Whether a record really waits, or only markers; None when it cannot be told."""
        client = self._client(stage, "read_committed")
        try:
            partitions = self._committed(stage)
            client.assign(
                [TopicPartition(p.topic, p.partition, max(p.offset, 0)) for p in partitions]
            )
            ends = 0
            while ends < len(partitions):
                found = client.consume(1, 5)
                if not found:
                    return None
                if found[0].error() is None:
                    return True
                ends += 1
            return False
        except KafkaException:
            return None
        finally:
            client.close()

    def _committed(self, stage: Stage) -> list[TopicPartition]:
        """Of the partitions held, the offsets that are certain; pending ones are not waited for."""
        client = self._client(stage, "read_uncommitted")
        try:
            # Without any partition while in the group, what waits is for somebody else.
            held = stage.holds() or ([] if stage.joined else self._inputs(client, stage))
            if not held:
                return []
            return client.committed([TopicPartition(t, n) for t, n in held], timeout=10)
        finally:
            client.close()

    def _inputs(self, client: Consumer, stage: Stage) -> list[tuple[str, int]]:
        names = [self._cluster.topic(topic) for topic in stage.spec.inputs]
        known = client.list_topics(timeout=5).topics
        # Nothing waits in a topic that nobody has made yet.
        return [(name, n) for name in names if name in known for n in known[name].partitions]

    def _client(self, stage: Stage, isolation: str) -> Consumer:
        group = f"{self._cluster.prefix}linkstatus.{stage.spec.name}"
        return Consumer(
            {
                **self._cluster.librdkafka(),
                "group.id": group,
                "isolation.level": isolation,
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "enable.partition.eof": True,
            }
        )
