"""A new partition may refuse the first produce request of a producer and take the second one. The
broker knows nothing of the producer, so it accepts any first sequence number (KIP-360), and
librdkafka counts the first request as written. Kafka 4.5 refuses the second one (KAFKA-15591).
"""

import asyncio
from collections.abc import Callable

import pytest
from confluent_kafka import KafkaError, Message, Producer

from connectors.kafka import sync_producer
from connectors.kafka.cluster import Cluster
from connectors.kafka.publisher import Publisher
from streams.engine import clients
from tests.support.reading import read_all
from tests.support.refusing_proxy import Proxy, refusing_first_produce
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.kafka

TOPIC = "order-close"


def idempotent(cluster: Cluster) -> Producer:
    return Producer({**sync_producer.settings(cluster), "linger.ms": 0})


def transactional(cluster: Cluster) -> Producer:
    producer = clients.transactional_producer(cluster, f"{cluster.prefix}first")
    producer.begin_transaction()
    return producer


def send_two(producer: Producer, topic: str, proxy: Proxy) -> list[KafkaError | None]:
    reports: list[KafkaError | None] = []

    def delivered(error: KafkaError | None, _: Message) -> None:
        reports.append(error)

    producer.produce(topic, b"1", b"key", on_delivery=delivered)
    assert proxy.refused.wait(PATIENCE)
    producer.produce(topic, b"2", b"key", on_delivery=delivered)
    assert producer.flush(PATIENCE) == 0
    return reports


@pytest.mark.parametrize("new", [idempotent, transactional])
def test_record_that_a_new_partition_refuses_at_first_is_not_lost(
    kafka: Cluster, new: Callable[[Cluster], Producer]
) -> None:
    topic = kafka.topic(TOPIC)
    with refusing_first_produce(kafka, topic) as (cluster, proxy):
        producer = new(cluster)
        assert send_two(producer, topic, proxy) == [None, None]
        if new is transactional:
            producer.commit_transaction()
    assert [message.value() for message in read_all(kafka, TOPIC)] == [b"1", b"2"]


async def test_callback_that_a_new_partition_refuses_at_first_is_not_lost(kafka: Cluster) -> None:
    with refusing_first_produce(kafka, kafka.topic(TOPIC)) as (cluster, proxy):
        publisher = Publisher(cluster, seconds=PATIENCE)
        connecting = asyncio.create_task(publisher.run())
        first = asyncio.create_task(publisher.publish(TOPIC, b"key", b"1", []))
        assert await asyncio.to_thread(proxy.refused.wait, PATIENCE)
        await publisher.publish(TOPIC, b"key", b"2", [])
        await first
        connecting.cancel()
        await asyncio.wait([connecting])
    assert {message.value() for message in read_all(kafka, TOPIC)} == {b"1", b"2"}
