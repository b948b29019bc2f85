"""Reading whole topics: what is there is read, whatever became of the place to begin at."""

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from connectors import ungrouped
from connectors.kafka import Cluster
from tests.reading import read_all, write_all
from tests.waiting import PATIENCE

pytestmark = pytest.mark.kafka


def test_where_the_first_records_have_gone_reading_begins_with_those_after_them(
    kafka: Cluster,
) -> None:
    """Retention may take them between the question where the topic begins and the first fetch."""
    topic, admin = kafka.topic("dead-letters"), AdminClient(kafka.librdkafka())
    write_all(kafka, "dead-letters", [(b"k", b"1"), (b"k", b"2"), (b"k", b"3")])
    number = read_all(kafka, "dead-letters")[0].partition() or 0
    gone = TopicPartition(topic, number, 2)
    admin.delete_records([gone])[gone].result(PATIENCE)
    consumer = ungrouped.reader(kafka, "test")
    try:
        found = ungrouped.read(consumer, topic, [number], start=0, seconds=PATIENCE)
        assert [message.value() for message in found] == [b"3"]
    finally:
        consumer.close()
