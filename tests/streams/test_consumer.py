"""`from streams import consume`: what a downstream service sees, on a real broker."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from connectors.clock import micros_now
from connectors.kafka import sync_producer
from connectors.kafka.cluster import Cluster
from schemas.codec import ORDER_CLOSE as SCHEMA
from schemas.records import OrderClose
from schemas.topics import DEAD_LETTERS, ORDER_CLOSE
from streams import consume, consumer
from streams.consumer import UnreadableRecord
from tests.support.codecs import CODECS
from tests.support.reading import write_all
from tests.support.waiting import PATIENCE, until, until_sync

pytestmark = pytest.mark.kafka


def close(number: int) -> OrderClose:
    return {
        "event_id": f"id-{number}",
        "provider": "ping",
        "order_id": f"O{number}",
        "links": [],
        "total_minor": 1200,
        "currency": "SEK",
        "decided_at": 1_767_225_600_000_000 + number,
    }


def publish(kafka: Cluster, *closes: OrderClose, commit: bool = True, partition: int = 0) -> None:
    """Publish closes in one transaction and partition, as the worker does."""
    producer = Producer({**sync_producer.settings(kafka), "transactional.id": uuid4().hex})
    producer.init_transactions(30)
    producer.begin_transaction()
    for close in closes:
        headers: dict[str, str | bytes | None] = {"event-id": close["event_id"]}
        topic, key = kafka.topic(ORDER_CLOSE.name), f"ping:{close['order_id']}".encode()
        producer.produce(topic, CODECS.encode(SCHEMA, close), key, partition, headers=headers)
    producer.flush(30)
    if commit:
        producer.commit_transaction(30)
    else:
        producer.abort_transaction(30)


def order_ids(kafka: Cluster, group: str = "g", drop_repeats: bool = False) -> list[str]:
    with consume(
        ORDER_CLOSE, group=group, cluster=kafka, drop_repeats=drop_repeats, until_end=True
    ) as records:
        return [record.value["order_id"] for record in records]


def test_record_is_decoded_and_has_its_origin_and_id(kafka: Cluster) -> None:
    before = micros_now() // 1000 * 1000
    publish(kafka, close(1))
    with consume(ORDER_CLOSE, group="g", cluster=kafka, until_end=True) as records:
        (record,) = records
    assert record.value == close(1)
    assert (record.topic, record.partition, record.offset) == ("order-close", 0, 0)
    assert (record.key, record.event_id) == ("ping:O1", "id-1")
    assert record.headers == {"event-id": b"id-1"}
    assert record.timestamp >= before


async def test_absent_broker_is_named_in_the_log_of_the_service_once_a_while(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    nowhere = Cluster(brokers="127.0.0.1:1", prefix="")
    async with consume(ORDER_CLOSE, group="g", cluster=nowhere, until_end=True) as records:
        reading = asyncio.ensure_future(anext(records))
        await until(lambda: "cannot describe the group" in caplog.text, "its question to time out")
        reading.cancel()
    assert {record.name for record in caplog.records} == {consumer.__name__}
    texts = [record.getMessage() for record in caplog.records]
    assert texts.count("order-close: no Kafka broker answers at 127.0.0.1:1; trying again") == 1
    assert len(texts) <= 4
    assert "rdkafka" not in capfd.readouterr().err


def test_aborted_records_are_not_read_and_repeats_are_dropped_on_request(kafka: Cluster) -> None:
    publish(kafka, close(0), commit=False)
    publish(kafka, close(1), close(2), close(1))
    assert order_ids(kafka, "all") == ["O1", "O2", "O1"]
    assert order_ids(kafka, "once", drop_repeats=True) == ["O1", "O2"]


@pytest.mark.parametrize("event_id", [None, b"\xff"])
def test_invalid_event_id_does_not_stop_the_consumer(
    kafka: Cluster, event_id: bytes | None
) -> None:
    producer = Producer(kafka.librdkafka())
    value = CODECS.encode(SCHEMA, close(1))
    producer.produce(kafka.topic(ORDER_CLOSE.name), value, b"k", headers=[("event-id", event_id)])
    assert producer.flush(30) == 0
    assert order_ids(kafka, drop_repeats=True) == ["O1"]


def test_consumer_reads_although_the_broker_does_not_describe_the_group(
    kafka: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    described: list[str] = []

    class Silent(AdminClient):
        def list_groups(self, group: str | None = None, timeout: float = 0) -> Any:
            described.append(str(group))
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))

    monkeypatch.setattr(consumer, "AdminClient", Silent)
    monkeypatch.setattr(consumer, "_GROUP_SECONDS", 0.0)
    publish(kafka, close(1))
    assert order_ids(kafka) == ["O1"]
    assert set(described) == {"g"}


def test_after_an_error_only_the_current_record_comes_again(kafka: Cluster) -> None:
    publish(kafka, *(close(number) for number in range(5)))

    def fail_at_the_third() -> None:
        with consume(ORDER_CLOSE, group="g", cluster=kafka) as records:
            for record in records:
                assert record.offset < 2, "the third"

    with pytest.raises(AssertionError, match="the third"):
        fail_at_the_third()
    assert order_ids(kafka) == ["O2", "O3", "O4"]
    assert order_ids(kafka) == []


def test_unreadable_record_is_an_error_with_its_origin_or_left_out(kafka: Cluster) -> None:
    write_all(kafka, ORDER_CLOSE.name, [(b"k", b"\0not ours")])
    publish(kafka, close(1))
    with pytest.raises(UnreadableRecord, match=r"^order-close/[01]/0: "):
        order_ids(kafka, "strict")
    errors: list[UnreadableRecord] = []
    with consume(
        ORDER_CLOSE, group="g", cluster=kafka, until_end=True, on_unreadable=errors.append
    ) as records:
        assert [record.value["order_id"] for record in records] == ["O1"]
    assert len(errors) == 1
    assert order_ids(kafka) == [], "the unreadable record does not come again"


def test_each_record_has_its_own_poll(kafka: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Polling keeps a member in its group, so many records together may take any time."""
    publish(kafka, *(close(number) for number in range(3)))
    polls = [0]

    class Counting(Consumer):
        def poll(self, *arguments: Any) -> Any:
            polls[0] += 1
            return super().poll(*arguments)

    monkeypatch.setattr(consumer, "Consumer", Counting)
    with consume(ORDER_CLOSE, group="g", cluster=kafka, until_end=True) as records:
        first, second, third = (polls[0] for _ in records)
    assert first < second < third


def test_record_that_takes_too_long_does_not_end_the_consumer(kafka: Cluster) -> None:
    publish(kafka, *(close(number) for number in range(3)))
    admin = AdminClient(kafka.librdkafka())

    def has_left() -> bool:
        return not admin.describe_consumer_groups(["late"])["late"].result(PATIENCE).members

    orders = []
    with consume(
        ORDER_CLOSE, group="late", cluster=kafka, drop_repeats=True, until_end=True, max_seconds=6
    ) as records:
        for record in records:
            orders.append(record.value["order_id"])
            if orders == ["O0"]:
                until_sync(has_left, "the group to remove this member")
    assert orders == ["O0", "O1", "O2"]
    assert order_ids(kafka, "late") == []


def test_raw_topic_gives_bytes_without_deletions(kafka: Cluster) -> None:
    write_all(kafka, DEAD_LETTERS.name, [(b"k", b"\xff"), (b"k", None)])
    with consume(DEAD_LETTERS, group="g", cluster=kafka, until_end=True) as records:
        assert [record.value for record in records] == [b"\xff"]


@asynccontextmanager
async def others(kafka: Cluster, group: str, members: int) -> AsyncIterator[None]:
    """Run `members` other members of the group. They hold all partitions and commit nothing."""
    stopping = threading.Event()
    settings = {
        **kafka.librdkafka(),
        "group.id": group,
        "partition.assignment.strategy": "cooperative-sticky",
        "enable.auto.commit": False,
    }
    consumers = [Consumer(settings) for _ in range(members)]

    def be_a_member(consumer: Consumer) -> None:
        consumer.subscribe([kafka.topic(ORDER_CLOSE.name)])
        while not stopping.is_set():
            consumer.poll(0.1)
        consumer.close()

    tasks = [asyncio.create_task(asyncio.to_thread(be_a_member, each)) for each in consumers]
    admin = AdminClient(kafka.librdkafka())

    def held() -> list[int]:
        try:
            description = admin.describe_consumer_groups([group])[group].result(PATIENCE)
        except KafkaException:  # a broker that has just started has no coordinator yet
            return []
        return [len(member.assignment.topic_partitions) for member in description.members]

    try:
        await until(
            lambda: held() == [2 // members] * members, "the other members to hold all partitions"
        )
        yield
    finally:
        stopping.set()
        await asyncio.gather(*tasks)


@pytest.mark.parametrize(("members", "orders"), [(2, []), (1, ["O1"])])
async def test_member_reads_what_the_others_leave_it(
    kafka: Cluster, members: int, orders: list[str]
) -> None:
    """It stops at the end, at once without partitions, but not while it may still get one."""
    publish(kafka, close(1), partition=0)
    publish(kafka, close(1), partition=1)
    async with (
        others(kafka, "shared", members),
        asyncio.timeout(PATIENCE),
        consume(ORDER_CLOSE, group="shared", cluster=kafka, until_end=True) as records,
    ):
        assert [record.value["order_id"] async for record in records] == orders


async def test_with_asyncio_done_records_are_committed(kafka: Cluster) -> None:
    publish(kafka, *(close(number) for number in range(3)))
    orders = []
    async with consume(ORDER_CLOSE, group="g", cluster=kafka) as records:
        async for record in records:
            orders.append(record.value["order_id"])
            if len(orders) == 2:
                break
    assert orders == ["O0", "O1"]
    async with consume(ORDER_CLOSE, group="g", cluster=kafka, until_end=True) as records:
        assert [record.value["order_id"] async for record in records] == ["O1", "O2"]


async def test_waiting_consumer_can_be_cancelled(kafka: Cluster) -> None:
    waiting = asyncio.Event()

    async def wait() -> None:
        async with consume(ORDER_CLOSE, group="g", cluster=kafka) as records:
            waiting.set()
            async for _ in records:
                raise AssertionError("the topic is empty")

    task = asyncio.create_task(wait())
    await waiting.wait()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    # The member has left the group, so the next one does not wait for it.
    publish(kafka, close(1))
    assert await asyncio.to_thread(order_ids, kafka) == ["O1"]
