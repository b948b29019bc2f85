"""The Kafka clients of a stage."""

import logging
from typing import Any

from confluent_kafka import Consumer, Producer

from connectors.kafka import sync_producer
from connectors.kafka.cluster import Cluster

log = logging.getLogger(__name__)

# The open transaction of a dead worker hides later records from readers for at most this time.
TRANSACTION_TIMEOUT_MS = 10_000
# How long a killed worker is missed: the shortest session that brokers allow by default.
SESSION_TIMEOUT_MS = 6_000


def transactional_producer(cluster: Cluster, transactional_id: str) -> Producer:
    """Return a producer that has fenced off an earlier one with the same id.

    Raises:
        KafkaException: the broker does not answer within 30 seconds.
    """
    producer = new_producer(cluster, transactional_id)
    fence(producer, 30)
    return producer


def fence(producer: Producer, seconds: float) -> None:
    """Fence off earlier producers with the same id, and abort what they left open (KIP-98).

    Raises:
        KafkaException: the broker does not answer; retriable if only the time is over.
    """
    # Without a connection the producer does not find its coordinator, and looks again half a second
    # later.
    producer.list_topics(timeout=10)
    producer.init_transactions(seconds)


def new_producer(cluster: Cluster, transactional_id: str) -> Producer:
    """Return a producer that has fenced nothing off yet."""
    settings: dict[str, Any] = {
        **sync_producer.settings(cluster),
        "transactional.id": transactional_id,
        "transaction.timeout.ms": TRANSACTION_TIMEOUT_MS,
        "linger.ms": 0,
        "queue.buffering.max.messages": 1_000_000,
        "queue.buffering.max.kbytes": 1_048_576,
        # While the broker writes the markers of the last commit, it answers
        # CONCURRENT_TRANSACTIONS. The default pause before the next try, 100 ms, would be most of
        # our latency. The pause doubles each time, so it also needs a low maximum.
        "retry.backoff.ms": 1,
        "retry.backoff.max.ms": 10,
    }
    return cluster.clients.producer(settings, logger=log)


def group_consumer(cluster: Cluster, group: str, instance: str) -> Consumer:
    """Return a consumer of the group (with prefix) that reads committed records."""
    settings: dict[str, Any] = {
        **cluster.librdkafka(),
        "group.id": group,
        "client.id": instance,
        "partition.assignment.strategy": "range",
        "isolation.level": "read_committed",
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        "session.timeout.ms": SESSION_TIMEOUT_MS,
        # A member learns of a rebalance with its next heartbeat, and the others wait for it.
        "heartbeat.interval.ms": 200,
        # A new assignment waits for the fetch under way; the default is 500.
        "fetch.wait.max.ms": 100,
        # The defaults, a second, would stall a consumer after a full queue or an error.
        "fetch.queue.backoff.ms": 10,
        "fetch.error.backoff.ms": 50,
        # Committed offsets whose transaction is ending are asked for again.
        "retry.backoff.ms": 10,
        "retry.backoff.max.ms": 100,
    }
    return cluster.clients.consumer(settings, logger=log)
