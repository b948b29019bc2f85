"""Reading whole topics, also where the first records are gone."""

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from connectors.kafka import topic_reader
from connectors.kafka.cluster import Cluster
from tests.support.reading import read_all, write_all
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.kafka


def test_reading_begins_after_deleted_records(
    kafka: Cluster,
) -> None:
    """Retention may delete records between the query for the first offset and the first fetch."""
    topic, admin = kafka.topic("dead-letters"), AdminClient(kafka.librdkafka())
    write_all(kafka, "dead-letters", [(b"k", b"1"), (b"k", b"2"), (b"k", b"3")])
    number = read_all(kafka, "dead-letters")[0].partition() or 0
    gone = TopicPartition(topic, number, 2)
    admin.delete_records([gone])[gone].result(PATIENCE)
    consumer = topic_reader.reader(kafka, "test")
    try:
        messages = topic_reader.read(consumer, topic, [number], start=0, seconds=PATIENCE)
        assert [message.value() for message in messages] == [b"3"]
    finally:
        consumer.close()
