"""A record waits until everything has been read that another topic had before it."""

import asyncio
import math

import pytest
from confluent_kafka import Producer

from connectors.kafka import sync_producer
from connectors.kafka.cluster import Cluster
from connectors.kafka.task import Task
from connectors.kafka.task_consumer import TaskConsumer
from tests.support.reading import write_all
from tests.support.running import running
from tests.support.waiting import until

pytestmark = pytest.mark.kafka


class Reader:
    """A consumer of two topics, and the values that it got, in order."""

    def __init__(self, cluster: Cluster, most_uncommitted: float = math.inf) -> None:
        self.values: list[str] = []
        self.tasks: list[Task] = []
        self.consumer = TaskConsumer(
            cluster,
            "reader",
            ["settlement", "order-close"],
            self._handle,
            lambda: 3,
            after={"settlement": "order-close"},
            most_uncommitted=most_uncommitted,
        )

    async def _handle(self, task: Task) -> None:
        self.values.append(task.record.value.decode())
        self.tasks.append(task)


async def test_record_waits_for_an_open_transaction_of_the_first_topic(kafka: Cluster) -> None:
    """A transaction's records appear in one partition before they do in another."""
    options = {**sync_producer.settings(kafka), "transactional.id": f"{kafka.prefix}open"}
    producer = Producer(options)
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(kafka.topic("order-close"), b"close", b"k", partition=1)
    assert producer.flush(30) == 0
    reader = Reader(kafka)
    async with running(reader.consumer.run):
        write_in(kafka, "settlement", 1, "settlement")
        write_in(kafka, "settlement", 0, "other")
        await until(lambda: reader.values == ["other"], "the partition without a transaction")
        await asyncio.to_thread(producer.commit_transaction, 30)
        await until(lambda: len(reader.values) == 3, "all records")
    assert reader.values == ["other", "close", "settlement"]


async def test_all_of_the_first_topic_is_read_before_the_second_from_the_beginning(
    kafka: Cluster,
) -> None:
    """More than the capacity waits: the second topic takes none of it."""
    for number in range(20):
        write_in(kafka, "settlement", 0, f"settlement {number}")
    for number in range(20):
        write_in(kafka, "order-close", 0, f"close {number}")
    reader = Reader(kafka)
    async with running(reader.consumer.run):
        await until(lambda: len(reader.values) == 40, "all records")
    closes = [f"close {number}" for number in range(20)]
    assert reader.values == [*closes, *(f"settlement {number}" for number in range(20))]


@pytest.mark.parametrize("acknowledged", [False, True])
async def test_partition_is_read_on_up_to_the_limit_of_uncommitted_records(
    acknowledged: bool, kafka: Cluster
) -> None:
    write_all(kafka, "order-close", [(b"k", b"%d" % number) for number in range(10)])
    reader = Reader(kafka, most_uncommitted=6)
    async with running(reader.consumer.run):
        await until(lambda: len(reader.values) >= 6, "the first records")
        for task in reader.tasks[not acknowledged :]:
            task.ack()
        if acknowledged:
            await until(lambda: len(reader.values) == 10, "the rest")
            assert reader.consumer.over() == 0
        else:
            await until(lambda: reader.consumer.over() == 1, "the pause")
            write_in(kafka, "settlement", 1 - reader.tasks[0].record.partition, "other")
            await until(lambda: "other" in reader.values, "another partition")
            # A read takes three records at most.
            assert len(reader.values) <= 6 + 2 + 1


def write_in(cluster: Cluster, topic: str, partition: int, value: str) -> None:
    producer = Producer(sync_producer.settings(cluster))
    producer.produce(cluster.topic(topic), value.encode(), b"k", partition=partition)
    assert producer.flush(30) == 0
