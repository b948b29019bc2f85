"""Topics are created, and every difference from what they should be is named."""

import pytest
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from connectors.kafka.cluster import Cluster
from connectors.providers.registry import PROVIDERS
from schemas.topics import DAY_MS, LINKS, LOOKUPS, all_topics
from streams.admin import topics

pytestmark = pytest.mark.kafka


def test_topics_are_created_once_and_compared(bare_kafka: Cluster) -> None:
    every = all_topics(PROVIDERS)
    assert len(topics.check(bare_kafka, every, 2, 1)) == len(every)
    assert len(topics.create(bare_kafka, every, 2, 1)) == len(every)
    assert topics.create(bare_kafka, every, 2, 1) == []
    assert topics.check(bare_kafka, every, 2, 1) == []


def test_every_difference_is_named(bare_kafka: Cluster) -> None:
    topics.create(bare_kafka, [LINKS], partitions=2, replication=1)
    problems = topics.check(bare_kafka, [LINKS], partitions=3, replication=3)
    name = bare_kafka.topic(LINKS.name)
    assert problems == [
        f"{name}: partitions is 2, should be 3",
        f"{name}: replication is 1, should be 3",
        f"{name}: min.insync.replicas is 1, should be 2",
    ]


def test_changed_settings_are_named(bare_kafka: Cluster) -> None:
    topics.create(bare_kafka, [LINKS, LOOKUPS], partitions=2, replication=1)
    links, lookups = (bare_kafka.topic(topic.name) for topic in (LINKS, LOOKUPS))
    changes = [
        (links, "cleanup.policy", "delete"),
        (links, "unclean.leader.election.enable", "true"),
        (lookups, "retention.ms", "1000"),
        (lookups, "retention.bytes", "1000"),
    ]
    client = AdminClient(bare_kafka.librdkafka())
    for topic, name, value in changes:
        entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
        for future in client.incremental_alter_configs([resource]).values():
            future.result(20)
    assert topics.check(bare_kafka, [LINKS, LOOKUPS], 2, 1) == [
        f"{links}: cleanup.policy is delete, should be compact",
        f"{links}: unclean.leader.election.enable is true, should be false",
        f"{lookups}: retention.ms is 1000, should be {7 * DAY_MS}",
        f"{lookups}: retention.bytes is 1000, should be -1",
    ]
    # `create` creates missing topics and changes no existing one.
    assert topics.create(bare_kafka, [LINKS, LOOKUPS], 2, 1) == []
    assert len(topics.check(bare_kafka, [LINKS, LOOKUPS], 2, 1)) == len(changes)
