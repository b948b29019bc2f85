"""Which topics there are. A topic that is deleted and created again has another id (KIP-516)."""

from collections.abc import Iterable
from typing import NamedTuple

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from connectors.kafka.cluster import Cluster

_SECONDS = 5.0


class Topic(NamedTuple):
    """The id and the partition numbers of a topic."""

    id: str
    partitions: list[int]


def client(cluster: Cluster) -> AdminClient:
    """Return the client for `describe`."""
    return AdminClient({**cluster.librdkafka(), "log_level": 0})


def describe(client: AdminClient, names: Iterable[str]) -> dict[str, Topic]:
    """Return the topics of these names (with prefix) that exist. Raises KafkaException."""
    topics = {}
    answers = client.describe_topics(TopicCollection([*names]), request_timeout=_SECONDS)
    for name, answer in answers.items():
        try:
            topic = answer.result(2 * _SECONDS)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise
        else:
            numbers = sorted(partition.id for partition in topic.partitions)
            topics[name] = Topic(str(topic.topic_id), numbers)
    return topics
