"""Settings of the brokers that the pipeline relies on: only the cluster's operator changes them."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from confluent_kafka.admin import (
    AdminClient,
    ClusterMetadata,
    ConfigResource,
    ResourceType,
    TopicMetadata,
)

from connectors.kafka.cluster import Cluster
from schemas.topics import CALLBACK_RETENTION_MS
from streams.engine.clients import SESSION_TIMEOUT_MS

_TIMEOUT = 30.0
_RETENTION_MINUTES = CALLBACK_RETENTION_MS // 60_000
# Kafka's own topics, with the brokers' settings that a new one gets: replicas, and those in sync.
_INTERNAL = {
    "__consumer_offsets": ("offsets.topic.replication.factor", "min.insync.replicas"),
    "__transaction_state": (
        "transaction.state.log.replication.factor",
        "transaction.state.log.min.isr",
    ),
}


class Differences(NamedTuple):
    """What should be other: what can lose records or stops workers, and what costs less."""

    wrong: list[str]
    notes: list[str]


def check(cluster: Cluster, replication: int) -> Differences:
    """Compare the brokers' settings with what the pipeline needs.

    Raises:
        KafkaException: our user lacks the right DESCRIBE_CONFIGS on the cluster, or a broker does
            not answer.
    """
    client = AdminClient({**cluster.librdkafka(), "log_level": 0})
    metadata = client.list_topics(timeout=_TIMEOUT)
    # Kafka takes one broker a request.
    brokers = {
        f"broker {number}": _config(client, ResourceType.BROKER, str(number))
        for number in sorted(metadata.brokers)
    }
    wrong, notes = list(_internal_topics(client, metadata, brokers, replication)), []
    for broker, config in brokers.items():
        shortest = int(config["group.min.session.timeout.ms"])
        if shortest > SESSION_TIMEOUT_MS:
            wrong.append(
                f"{broker}: group.min.session.timeout.ms is {shortest}, should be at most "
                f"{SESSION_TIMEOUT_MS}: workers cannot join"
            )
        kept = int(config["offsets.retention.minutes"])
        if kept < _RETENTION_MINUTES:
            notes.append(
                f"{broker}: offsets.retention.minutes is {kept}, should be at least "
                f"{_RETENTION_MINUTES}: after a longer pause a process reads its topics again from "
                "their beginning"
            )
    return Differences(wrong, notes)


def _internal_topics(
    client: AdminClient,
    metadata: ClusterMetadata,
    brokers: Mapping[str, Mapping[str, str]],
    replication: int,
) -> Iterator[str]:
    """Yield what is too small, of the topics or, before they exist, of the brokers' settings."""
    in_sync = max(1, replication - 1)
    for name, (replicas_setting, in_sync_setting) in _INTERNAL.items():
        if name in metadata.topics:
            isr = "min.insync.replicas"
            actual = int(_config(client, ResourceType.TOPIC, name)[isr])
            replicas = _replicas(metadata.topics[name])
            yield from _too_small(name, "replication", replicas, replication)
            yield from _too_small(name, isr, actual, in_sync)
            continue
        for broker, config in brokers.items():
            for setting, least in ((replicas_setting, replication), (in_sync_setting, in_sync)):
                yield from _too_small(broker, setting, int(config[setting]), least)


def _too_small(where: str, setting: str, actual: int, least: int) -> Iterator[str]:
    if actual < least:
        yield f"{where}: {setting} is {actual}, should be at least {least}"


def _replicas(topic: TopicMetadata) -> int:
    return min(len(partition.replicas) for partition in topic.partitions.values())


def _config(client: AdminClient, kind: ResourceType, name: str) -> dict[str, str]:
    (answer,) = client.describe_configs(
        [ConfigResource(kind, name)], request_timeout=_TIMEOUT
    ).values()
    return {entry.name: entry.value for entry in answer.result().values()}
