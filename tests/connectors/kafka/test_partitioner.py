"""The partition of a key is the same in every client."""

import pytest
from aiokafka.partitioner import DefaultPartitioner
from confluent_kafka import Producer
from hypothesis import given
from hypothesis import strategies as st

from connectors.kafka import sync_producer
from connectors.kafka.cluster import Cluster
from connectors.kafka.partitioner import murmur2, partition_of, place
from tests.support.reading import read_all


@given(st.binary(max_size=60), st.integers(1, 1000))
def test_aiokafka_places_a_key_alike(key: bytes, count: int) -> None:
    partitions = list(range(count))
    placed = DefaultPartitioner()(key, partitions, partitions)
    assert placed == partition_of(key, count) == place(key, partitions, [])


def test_record_without_a_key_goes_to_a_partition_that_has_a_leader() -> None:
    assert {place(None, [0, 1, 2], [1]) for _ in range(50)} == {1}
    assert {place(None, [0, 1, 2], []) for _ in range(500)} == {0, 1, 2}


# From Kafka's own test of Utils.murmur2 (UtilsTest).
@pytest.mark.parametrize(
    ("key", "signed"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
    ],
)
def test_hash_is_that_of_the_java_client(key: bytes, signed: int) -> None:
    assert murmur2(key) == signed & 0xFFFFFFFF


@pytest.mark.kafka
def test_librdkafka_places_a_key_alike(kafka: Cluster) -> None:
    producer = Producer(sync_producer.settings(kafka))
    for n in range(200):
        producer.produce(kafka.topic("links"), b"", b"ping:%d" % n)
    assert producer.flush(30) == 0
    placed = {m.key(): m.partition() for m in read_all(kafka, "links")}
    assert len(placed) == 200
    assert placed == {key: partition_of(key, 2) for key in placed if isinstance(key, bytes)}
