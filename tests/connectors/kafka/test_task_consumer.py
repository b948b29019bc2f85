"""The processes `lookup` and `settle` on a real broker: the next process finishes what one left
unfinished.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import IllegalStateError
from confluent_kafka import Consumer, ConsumerGroupState, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from connectors.kafka.cluster import Cluster
from connectors.kafka.publisher import Publisher
from connectors.kafka.read_order import ReadOrder
from connectors.kafka.task import Task
from connectors.kafka.task_consumer import TaskConsumer
from connectors.settle.dispatcher import Dispatcher
from connectors.settle.executor import SettleExecutor
from schemas.codec import ORDER_UPDATE, Codecs, SchemaAway
from tests.connectors.lookup import harness as lookups
from tests.connectors.lookup.harness import looking_up
from tests.connectors.providers.test_ping_orders import ORDERS
from tests.connectors.settle import harness as settlements
from tests.support.codecs import CODECS
from tests.support.reading import read_all, write_all
from tests.support.running import client_of, running
from tests.support.waiting import until, until_threaded


def all_committed(cluster: Cluster, group: str, topic: str) -> bool:
    """Whether the group has committed everything up to the topic's end."""
    consumer = Consumer({**cluster.librdkafka(), "group.id": cluster.prefix + group})
    name = cluster.topic(topic)
    partitions = [
        TopicPartition(name, n) for n in consumer.list_topics(name).topics[name].partitions
    ]
    ends = [consumer.get_watermark_offsets(partition)[1] for partition in partitions]
    committed = [max(0, partition.offset) for partition in consumer.committed(partitions)]
    consumer.close()
    return committed == ends


HERE, ELSEWHERE = TopicPartition("lookups", 0), TopicPartition("lookups", 1)


def first_of(place: TopicPartition) -> SimpleNamespace:
    return SimpleNamespace(topic=place.topic, partition=place.partition, offset=0)


class Fetched:
    """A consumer that has one record of each of two partitions, and commits as aiokafka does."""

    def __init__(self) -> None:
        self.assigned = {HERE, ELSEWHERE}
        self.committed: dict[TopicPartition, int] = {}
        self._batches = [{place: [first_of(place)] for place in (HERE, ELSEWHERE)}]

    def assignment(self) -> set[TopicPartition]:
        return self.assigned

    def paused(self) -> set[TopicPartition]:
        return set()

    def resume(self, *partitions: TopicPartition) -> None:
        """It is never paused."""

    async def getmany(self, timeout_ms: int, max_records: int) -> Any:
        await asyncio.sleep(0)
        return self._batches.pop() if self._batches else {}

    async def commit(self, offsets: dict[TopicPartition, int]) -> None:
        if not offsets.keys() <= self.assigned:
            raise IllegalStateError("not assigned")
        self.committed |= offsets


async def test_partition_that_moves_within_a_batch_stops_no_other_commit() -> None:
    consumer, handled = Fetched(), []

    async def handle(task: Task) -> None:
        handled.append(task)
        tasks.forget([ELSEWHERE])
        consumer.assigned.discard(ELSEWHERE)
        task.ack()

    tasks = TaskConsumer(Cluster("nowhere"), "g", ["lookups"], handle, lambda: 10)
    async with running(lambda: tasks._consume(consumer, ReadOrder({}, consumer, consumer))):
        await until(lambda: consumer.committed == {HERE: 1}, "the commit")
    assert len(handled) == 1


@pytest.mark.kafka
async def test_record_waits_while_its_schema_cannot_be_looked_up(kafka: Cluster) -> None:
    write_all(kafka, "lookups", [(b"ipint:a", b"\0\0\0\0\7what another release wrote")])
    write_all(kafka, "lookups", [(b"ipint:b", lookups.request("b", reason="POLL"))])
    looked_up: list[int] = []
    away = True

    def find(number: int) -> None:
        looked_up.append(number)
        if away:
            raise SchemaAway(f"schema {number} cannot be looked up")

    api = lookups.Api()
    async with looking_up(kafka, api, codecs=Codecs(find=find)):
        await until(lambda: len(looked_up) > 1, "a second lookup")
        away = False
        await until_threaded(
            lambda: all_committed(kafka, "lookup-ipint", "lookups"), "every offset"
        )
    # What was not committed when the consumer started over is repeated.
    assert set(api.requested) == {"b"}
    assert len({dict(m.headers() or [])["origin"] for m in read_all(kafka, "dead-letters")}) == 1


@pytest.mark.kafka
async def test_second_process_stands_by_until_the_first_ends(
    kafka: Cluster,
) -> None:
    one, two = ([f"{name}{number}" for number in range(20)] for name in ("a", "b"))
    first, second = lookups.Api(), lookups.Api()
    async with AsyncExitStack() as stack:
        async with looking_up(kafka, first) as process:
            await until_threaded(lambda: members(kafka, "lookup-ipint") == 1, "the first process")
            await stack.enter_async_context(looking_up(kafka, second))
            await until_threaded(lambda: members(kafka, "lookup-ipint") == 2, "the second process")
            process.ask(*one)
            await until(lambda: set(first.requested) == set(one), "the lookups")
            assert second.requested == []
        process.ask(*two)
        await until(lambda: set(second.requested) >= set(two), "the second process at work")


def members(cluster: Cluster, group: str) -> int:
    """Return how many processes have joined the group, once all know their partitions."""
    admin = AdminClient(cluster.librdkafka())
    name = cluster.prefix + group
    try:
        described = admin.describe_consumer_groups([name], request_timeout=5)[name].result()
    except KafkaException:  # a broker that has just started has no coordinator yet
        return 0
    return len(described.members) if described.state == ConsumerGroupState.STABLE else 0


@asynccontextmanager
async def settling(cluster: Cluster, payments: settlements.Payments) -> AsyncIterator[None]:
    """The parts of the process `settle` on a real cluster."""
    publisher = Publisher(cluster)
    async with client_of(payments) as client:
        executor = SettleExecutor("ping", ORDERS, client, publisher, CODECS, settlements.QUICK)
        dispatcher = Dispatcher(
            cluster.prefix, {"ping": executor}, publisher, CODECS, settlements.QUICK
        )
        topics = ["order-close", "settlement"]
        consumer = TaskConsumer(cluster, "settle", topics, dispatcher.handle, dispatcher.capacity)
        async with running(publisher.run, executor.run, consumer.run):
            yield


@pytest.mark.kafka
async def test_next_process_closes_the_order_that_waited(kafka: Cluster) -> None:
    write_all(
        kafka,
        "order-close",
        [(b"ping:o1", settlements.close("o1")), (b"ping:o2", settlements.close("o2"))],
    )
    write_all(
        kafka, "settlement", [(b"ping:o2", settlements.settlement("o2")), (b"ping:o2", b"junk")]
    )

    def reported() -> set[tuple[str, str]]:
        updates = [CODECS.decode(ORDER_UPDATE, m.value()) for m in read_all(kafka, "order-updates")]
        return {(update["order_id"], update["step"]) for update in updates}

    o2 = {("o2", "CLOSED"), ("o2", "SPLIT"), ("o2", "SETTLED")}
    waiting = settlements.Payments(o1_close=[403] * 1_000_000)
    async with settling(kafka, waiting):
        await until(lambda: "o2 settle" in waiting.called, "the order that was ready")
        await until_threaded(lambda: reported() == o2, "its reports")
    ready = settlements.Payments()
    async with settling(kafka, ready):
        await until(lambda: "o1 close" in ready.called, "the next process")
        await until_threaded(lambda: reported() == {*o2, ("o1", "CLOSED")}, "the order that waited")
    # A repeat of a dead letter has the same origin.
    assert len({dict(m.headers() or [])["origin"] for m in read_all(kafka, "dead-letters")}) == 1
