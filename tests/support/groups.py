"""The consumer groups of a running system, and whether they make progress."""

from functools import partial

from confluent_kafka import Consumer, TopicPartition

from connectors.kafka.cluster import Cluster
from connectors.providers.registry import PROVIDERS
from streams.agents.stages import inputs
from tests.support.waiting import until_sync

# The topics of each group whose unreadable records become dead letters.
GROUPS: dict[str, list[str]] = {
    "linkstatus.work": sorted(
        {topic.name for topics in inputs(PROVIDERS).values() for topic in topics}
    ),
    "settle": ["order-close", "settlement"],
    **{f"lookup-{name}": ["lookups"] for name in PROVIDERS},
}
# Markers of transactions take offsets, too, and no group commits those at the end.
_MARKERS = 20


def await_groups(cluster: Cluster) -> None:
    """Wait until all groups have read to the end of their topics."""
    for group in GROUPS:
        until_sync(partial(_has_finished, cluster, group), f"{group} to finish")


def _has_finished(cluster: Cluster, group: str) -> bool:
    consumer = Consumer({**cluster.librdkafka(), "group.id": cluster.prefix + group})
    try:
        names = map(cluster.topic, GROUPS[group])
        partitions = [TopicPartition(name, number) for name in names for number in range(2)]
        ends = [consumer.get_watermark_offsets(partition, 5)[1] for partition in partitions]
        committed = consumer.committed(partitions, 5)
        waiting = sum(end - max(p.offset, 0) for end, p in zip(ends, committed, strict=True))
        return waiting < _MARKERS
    finally:
        consumer.close()
