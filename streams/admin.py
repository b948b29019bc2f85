"""The topics of an installation on its cluster: made once, compared with what they should be."""

import time
from collections.abc import Iterable, Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (
    AdminClient,
    ConfigResource,
    NewTopic,
    ResourceType,
    TopicMetadata,
)

from connectors.kafka import LARGEST_RECORD, Cluster
from schemas.topics import Topic

_TIMEOUT = 30.0
_COMPACTED = {
    "cleanup.policy": "compact",
    # Tables are restored from these topics, so keep them short: compact soon and in small segments.
    "min.cleanable.dirty.ratio": "0.1",
    "segment.bytes": str(64 * 1024 * 1024),
    "segment.ms": str(6 * 3600 * 1000),
}


def topic_config(topic: Topic[Any], replication: int) -> dict[str, str]:
    """The settings the topic should have on the cluster."""
    config = {
        # One replica may be away without stopping writes; with one or two there is none to spare.
        "min.insync.replicas": str(max(1, replication - 1)),
        "max.message.bytes": str(LARGEST_RECORD),
    }
    if topic.keep_ms is None:
        return config | _COMPACTED
    kept = {"retention.ms": str(topic.keep_ms), "retention.bytes": "-1"}
    return config | {"cleanup.policy": "delete", **kept}


# Looked at and not set, since some clusters let no topic say it: where it is true, records that all
# replicas had acknowledged may be lost with a leader.
_NEVER = {"unclean.leader.election.enable": "false"}


def _client(cluster: Cluster) -> AdminClient:
    return AdminClient({**cluster.librdkafka(), "log_level": 0})


def existing(cluster: Cluster, topics: Iterable[Topic[Any]]) -> list[str]:
    """The names of those that are there."""
    found = _client(cluster).list_topics(timeout=_TIMEOUT).topics
    return [name for topic in topics if (name := cluster.topic(topic.name)) in found]


def create(
    cluster: Cluster, topics: Iterable[Topic[Any]], partitions: int, replication: int
) -> list[str]:
    """Makes the topics that are missing and returns their names; what exists stays as it is."""
    wanted = [
        NewTopic(
            cluster.topic(topic.name),
            num_partitions=partitions,
            replication_factor=replication,
            config=topic_config(topic, replication),
        )
        for topic in topics
    ]
    client = _client(cluster)  # named, because its answers come only while it lives
    made = []
    for name, future in client.create_topics(wanted, request_timeout=_TIMEOUT).items():
        try:
            future.result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
        else:
            made.append(name)
    _await_leaders(client, [topic.topic for topic in wanted])
    return made


def _await_leaders(client: AdminClient, names: Sequence[str]) -> None:
    """A made topic is not at once one that can be used: brokers learn of it a moment later."""
    deadline = time.monotonic() + _TIMEOUT
    while True:
        found = client.list_topics(timeout=_TIMEOUT).topics
        late = [name for name in names if name not in found or not _usable(found[name])]
        if not late:
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"no leader for {', '.join(late)}")
        time.sleep(0.02)


def _usable(topic: TopicMetadata) -> bool:
    return bool(topic.partitions) and all(p.leader >= 0 for p in topic.partitions.values())


def check(
    cluster: Cluster, topics: Sequence[Topic[Any]], partitions: int, replication: int
) -> list[str]:
    """Every difference between the cluster's topics and what they should be, in words."""
    client = _client(cluster)
    found = client.list_topics(timeout=_TIMEOUT).topics
    present = [topic for topic in topics if cluster.topic(topic.name) in found]
    configs = _configs(client, [cluster.topic(topic.name) for topic in present])
    problems = [f"{cluster.topic(topic.name)}: missing" for topic in topics if topic not in present]
    for topic in present:
        name = cluster.topic(topic.name)
        layout = found[name].partitions
        actual = {
            "partitions": str(len(layout)),
            "replication": str(min(len(part.replicas) for part in layout.values())),
            **configs[name],
        }
        wanted = {
            "partitions": str(partitions),
            "replication": str(replication),
            **topic_config(topic, replication),
            **_NEVER,
        }
        problems += [
            f"{name}: {setting} is {actual.get(setting)}, should be {value}"
            for setting, value in wanted.items()
            if actual.get(setting) != value
        ]
    return problems


def _configs(client: AdminClient, names: Sequence[str]) -> dict[str, dict[str, str]]:
    if not names:
        return {}
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
    answers: dict[Any, Any] = client.describe_configs(resources, request_timeout=_TIMEOUT)
    return {
        resource.name: {entry.name: entry.value for entry in future.result().values()}
        for resource, future in answers.items()
    }
