"""The aiokafka consumer reads around records that aiokafka alone cannot read."""

import gzip

import pytest
from aiokafka import TopicPartition
from confluent_kafka import Producer

from connectors.kafka import aio_consumer
from connectors.kafka.cluster import Cluster
from schemas.headers import headers_of
from tests.support import record_batches as batches
from tests.support.reading import read_all

pytestmark = pytest.mark.kafka
NAME = b"\xff\xfe"


async def read(cluster: Cluster, topic: str, number: int) -> list[tuple[object, object]]:
    consumer = aio_consumer.consumer(cluster, auto_offset_reset="earliest")
    await consumer.start()
    try:
        consumer.assign([TopicPartition(cluster.topic(topic), 0)])
        return [
            (record.value, [name for name, _ in record.headers])
            for record in [await consumer.getone() for _ in range(number)]
        ]
    finally:
        await consumer.stop()


@pytest.mark.parametrize("compress", [None, gzip.compress])
async def test_b2_name_of_a_header_that_is_not_utf_8_costs_no_record(
    kafka: Cluster, compress: batches.Compress | None
) -> None:
    records = [
        batches.record(0, b"k", b"1"),
        batches.record(1, b"k", b"2", [(NAME, None), (b"", b"x")]),
        batches.record(2, None, b"3"),
    ]
    batches.write(kafka, "lookups", 0, batches.batch(records, compress=compress))
    assert await read(kafka, "lookups", 3) == [(b"1", []), (b"2", ["\ufffd\ufffd", ""]), (b"3", [])]


@pytest.mark.parametrize("codec", ["gzip", "lz4", "snappy", "zstd"])
async def test_records_of_every_compression_are_read(kafka: Cluster, codec: str) -> None:
    producer = Producer({**kafka.librdkafka(), "compression.type": codec})
    producer.produce(kafka.topic("lookups"), b"x" * 1000, partition=0)
    producer.flush()
    assert await read(kafka, "lookups", 1) == [(b"x" * 1000, [])]


def test_batch_that_decompresses_to_more_than_a_record_may_have_is_refused(kafka: Cluster) -> None:
    bomb = batches.batch([batches.record(0, b"k", bytes(8 << 20))], compress=gzip.compress)
    assert len(bomb) < 100_000
    with pytest.raises(batches.Refused, match="10"):
        batches.write(kafka, "lookups", 0, bomb)


def test_batch_that_nobody_can_read_is_one_record_that_tells_why() -> None:
    data = batches.batch([batches.record(0, b"k", b"1")], compress=lambda data: b"junk" + data)
    records = aio_consumer._MemoryRecords(data)
    (record,) = list(records.next_batch())
    assert (record.offset, record.value) == (0, None)
    assert "gzipped" in dict(record.headers)["unreadable"].decode()


def test_b2_librdkafka_reads_on_after_a_name_that_is_not_utf_8(kafka: Cluster) -> None:
    """The client's own `headers` crashes the process when it is called twice."""
    odd = [(b"a", b"1"), (NAME, b"x"), (b"", None)]
    for headers in ([(NAME, None)], odd, [(b"a", None)]):
        data = batches.batch([batches.record(0, b"k", b"v", headers)])
        batches.write(kafka, "lookups", 0, data)
    messages = read_all(kafka, "lookups")
    for _ in range(3):
        assert [headers_of(message) for message in messages] == [[], [], [("a", b"")]]
