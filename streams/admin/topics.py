"""Create the topics of an installation, and compare them with what they should be."""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import (
    AdminClient,
    ConfigResource,
    NewTopic,
    ResourceType,
    TopicDescription,
)

from connectors.kafka.cluster import Cluster
from schemas.limits import RECORD_BYTES
from schemas.topics import Topic

_TIMEOUT = 30.0
_COMPACTED = {
    "cleanup.policy": "compact",
    # Workers restore their tables from these topics: keep them short, compact soon, in small
    # segments.
    "min.cleanable.dirty.ratio": "0.1",
    "segment.bytes": str(64 * 1024 * 1024),
    "segment.ms": str(6 * 3600 * 1000),
}


def topic_config(topic: Topic[Any], replication: int) -> dict[str, str]:
    """The settings the topic should have on the cluster."""
    config = {
        # Writes go on while one replica is down; with one or two replicas there is none to spare.
        "min.insync.replicas": str(max(1, replication - 1)),
        "max.message.bytes": str(RECORD_BYTES),
        # The broker decompresses what a producer has compressed, so that the limit above also holds
        # for what consumers read: a batch of 2 MiB can hold gigabytes of zeros.
        "compression.type": "uncompressed",
    }
    if topic.keep_ms is None:
        return config | _COMPACTED
    kept = {"retention.ms": str(topic.keep_ms), "retention.bytes": "-1"}
    return config | {"cleanup.policy": "delete", **kept}


# Checked but not set, because some clusters do not let a topic set it. Where it is true, a failing
# leader may lose records that all replicas acknowledged.
_REQUIRED = {"unclean.leader.election.enable": "false"}

# A topic that does not exist, that our rights hide, or that is new.
_UNSEEN = {
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.LEADER_NOT_AVAILABLE,
}


def _client(cluster: Cluster) -> AdminClient:
    return AdminClient({**cluster.librdkafka(), "log_level": 0})


def existing(cluster: Cluster, topics: Iterable[Topic[Any]]) -> list[str]:
    """The names of those that exist."""
    return list(_described(_client(cluster), [cluster.topic(topic.name) for topic in topics]))


def _described(client: AdminClient, names: Sequence[str]) -> dict[str, TopicDescription]:
    """Describe those topics that exist and that we may see. Raises KafkaException."""
    answers = client.describe_topics(TopicCollection([*names]), request_timeout=_TIMEOUT)
    described = {}
    for name, future in answers.items():
        try:
            described[name] = future.result()
        except KafkaException as error:
            if error.args[0].code() not in _UNSEEN:
                raise
    return described


def create(
    cluster: Cluster, topics: Iterable[Topic[Any]], partitions: int, replication: int
) -> list[str]:
    """Create the missing topics and return their names; existing ones stay as they are."""
    new_topics = [
        NewTopic(
            cluster.topic(topic.name),
            num_partitions=partitions,
            replication_factor=replication,
            config=topic_config(topic, replication),
        )
        for topic in topics
    ]
    client = _client(cluster)  # a variable: the answers come only while the client lives
    created = []
    for name, future in client.create_topics(new_topics, request_timeout=_TIMEOUT).items():
        try:
            future.result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
        else:
            created.append(name)
    _await_leaders(client, [topic.topic for topic in new_topics])
    return created


def _await_leaders(client: AdminClient, names: Sequence[str]) -> None:
    """Wait until every broker knows a new topic: until then clients cannot use it."""
    deadline = time.monotonic() + _TIMEOUT
    while late := _without_leader(_described(client, names), names):
        if time.monotonic() > deadline:
            raise TimeoutError(f"no leader for {', '.join(late)}")
        time.sleep(0.02)


def _without_leader(found: Mapping[str, TopicDescription], names: Sequence[str]) -> list[str]:
    led = {
        name
        for name, topic in found.items()
        if topic.partitions and all(partition.leader for partition in topic.partitions)
    }
    return [name for name in names if name not in led]


def check(
    cluster: Cluster, topics: Sequence[Topic[Any]], partitions: int, replication: int
) -> list[str]:
    """Every difference between the cluster's topics and what they should be, one text each."""
    client = _client(cluster)
    by_name = {cluster.topic(topic.name): topic for topic in topics}
    found = _described(client, [*by_name])
    configs = _configs(client, [name for name in by_name if name in found])
    differences = [f"{name}: missing" for name in by_name if name not in found]
    for name, config in configs.items():
        actual = {**_layout(found[name]), **config}
        expected = {
            "partitions": str(partitions),
            "replication": str(replication),
            **topic_config(by_name[name], replication),
            **_REQUIRED,
        }
        differences += [
            f"{name}: {setting} is {actual.get(setting)}, should be {value}"
            for setting, value in expected.items()
            if actual.get(setting) != value
        ]
    return differences


def _layout(topic: TopicDescription) -> dict[str, str]:
    replicas = [len(partition.replicas) for partition in topic.partitions]
    return {"partitions": str(len(replicas)), "replication": str(min(replicas))}


def _configs(client: AdminClient, names: Sequence[str]) -> dict[str, dict[str, str]]:
    if not names:
        return {}
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
    answers: dict[Any, Any] = client.describe_configs(resources, request_timeout=_TIMEOUT)
    return {
        resource.name: {entry.name: entry.value for entry in future.result().values()}
        for resource, future in answers.items()
    }
