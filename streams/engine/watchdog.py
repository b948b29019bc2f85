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
    "linkstatus_stage_lag_records", "Records of the whole group not yet committed.", ["stage"]
)


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
            waiting = int(asked.result)
        except KafkaException as error:
            # Nobody moves while the broker is away; that is no stall of ours.
            log.info("%s: lag unknown: %s", name, error)
            self._seen[name] = (stage.committed, now)
            return
        LAG.labels(name).set(waiting)
        committed, since = self._seen.get(name, (-1, now))
        if not waiting or committed != stage.committed:
            self._seen[name] = (stage.committed, now)
        elif now - since > self._stall_seconds and await asyncio.to_thread(self._has_record, stage):
            log.critical(
                "%s: %d records wait and nothing was committed for %.0f s: ending for a restart",
                name,
                waiting,
                now - since,
            )
            os._exit(1)

    def _waiting(self, stage: Stage) -> int:
        """Records between the committed and the end offsets of the partitions this worker holds."""
        client = self._client(stage, "read_committed")
        try:
            total = 0
            for partition in self._committed(stage):
                low, high = client.get_watermark_offsets(partition, timeout=5)
                total += max(0, high - max(partition.offset, low))
            return total
        finally:
            client.close()

    def _has_record(self, stage: Stage) -> bool:
        """Whether a record really waits: transaction markers take offsets too, and are never
        committed.
        """
        client = self._client(stage, "read_committed")
        try:
            partitions = self._committed(stage)
            client.assign(
                [TopicPartition(p.topic, p.partition, max(p.offset, 0)) for p in partitions]
            )
            ends = 0
            while ends < len(partitions):
                found = client.consume(1, 5)
                if not found or found[0].error() is None:
                    return bool(found)
                ends += 1
            return False
        except KafkaException:
            return False
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
        return [(name, number) for name in names for number in known[name].partitions]

    def _client(self, stage: Stage, isolation: str) -> Consumer:
        group = f"{self._cluster.prefix}linkstatus.{stage.spec.name}"
        return Consumer(
            {
                **self._cluster.librdkafka(),
                "group.id": group,
                "isolation.level": isolation,
                "enable.auto.commit": False,
                "enable.partition.eof": True,
            }
        )
