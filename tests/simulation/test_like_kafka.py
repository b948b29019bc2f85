"""The simulated cluster is like Kafka: clients of both see the same."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from random import Random
from typing import Any
from unittest import mock

import pytest
from aiokafka.client import AIOKafkaClient, ConnectionGroup, CoordinationType
from aiokafka.protocol.group import LeaveGroupRequest
from confluent_kafka import KafkaError

from connectors.kafka.cluster import Cluster
from schemas.topics import Topic
from streams.admin import topics
from tests.simulation.clients import cluster_of
from tests.simulation.cluster import SimulatedKafka
from tests.simulation.network import Refused
from tests.simulation.scheduler import Process, Scheduler
from tests.simulation.scripts import IN, OUT, SCRIPTS, Seen, World
from tests.support.refusing_proxy import refusing_first_produce
from tests.support.waiting import until_sync

_PARTITIONS = 2


class RealWorld:
    """A prefix on the embedded broker."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        made: list[Topic[Any]] = [Topic(name, "link", None) for name in (IN, OUT)]
        topics.create(cluster, made, partitions=_PARTITIONS, replication=1)

    def until(self, condition: Callable[[], bool]) -> None:
        until_sync(condition, "what the script waits for")

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def remove_member(self, group: str, member_id: str) -> None:
        asyncio.run(self._remove(group, member_id))

    @contextmanager
    def refusing_first_produce(self) -> Iterator[Cluster]:
        with refusing_first_produce(self.cluster, self.cluster.topic(OUT)) as (cluster, _):
            yield cluster

    async def _remove(self, group: str, member_id: str) -> None:
        client = AIOKafkaClient(**self.cluster.aiokafka())
        await client.bootstrap()
        try:
            node = await client.coordinator_lookup(CoordinationType.GROUP, group)
            request = LeaveGroupRequest(group, member_id)
            await client.send(node, request, group=ConnectionGroup.COORDINATION)
        finally:
            await client.close()


class SimulatedWorld:
    """A simulated cluster, and a process with the script as its thread."""

    def __init__(self) -> None:
        self.kafka = SimulatedKafka(Scheduler(), Random(1))
        self.kafka.create((IN, OUT), _PARTITIONS)
        self.process = Process(self.kafka.scheduler, "script")
        self.cluster = cluster_of(self.kafka, self.process)

    def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self.process.thread.wait(0.02)

    def sleep(self, seconds: float) -> None:
        self.process.thread.wait(seconds)

    def remove_member(self, group: str, member_id: str) -> None:
        self.kafka.group(group).leave(member_id)

    @contextmanager
    def refusing_first_produce(self) -> Iterator[Cluster]:
        requests, append = count(), self.kafka.append

        def refuse(*batch: Any) -> None:
            if not next(requests):
                raise Refused(KafkaError.NOT_LEADER_FOR_PARTITION)
            append(*batch)

        with mock.patch.object(self.kafka, "append", refuse):
            yield self.cluster

    def run(self, script: Callable[[World], Seen]) -> Seen:
        results: list[Seen] = []
        self.process.spawn(lambda: results.append(script(self)))
        self.kafka.scheduler.run(300, lambda: bool(results))
        (seen,) = results
        return seen


@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)
def test_clients_see_the_same(bare_kafka: Cluster, script: Callable[[World], Seen]) -> None:
    assert SimulatedWorld().run(script) == script(RealWorld(bare_kafka))
