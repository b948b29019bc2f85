"""`from streams import consume`: what a downstream service sees, on a real broker."""

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import Future
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from connectors.clock import micros_now
from connectors.kafka import Cluster
from schemas.records import OrderClose
from schemas.topics import DEAD_LETTERS, ORDER_CLOSE
from streams import consume, consuming
from streams.consuming import UnreadableRecord
from tests.reading import write_all
from tests.waiting import PATIENCE, until, until_sync

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
    """In a transaction, as the worker does, all into one partition."""
    producer = Producer({**kafka.librdkafka(), "transactional.id": uuid4().hex})
    producer.init_transactions(30)
    producer.begin_transaction()
    for one in closes:
        headers: dict[str, str | bytes | None] = {"event-id": one["event_id"]}
        value = ORDER_CLOSE.codec.encode(one) if ORDER_CLOSE.codec else b""
        topic, key = kafka.topic(ORDER_CLOSE.name), f"ping:{one['order_id']}".encode()
        producer.produce(topic, value, key, partition, headers=headers)
    producer.flush(30)
    if commit:
        producer.commit_transaction(30)
    else:
        producer.abort_transaction(30)


def seen(kafka: Cluster, group: str = "g", drop_repeats: bool = False) -> list[str]:
    with consume(
        ORDER_CLOSE, group=group, cluster=kafka, drop_repeats=drop_repeats, until_end=True
    ) as records:
        return [record.value["order_id"] for record in records]


def test_records_come_decoded_with_their_place_and_id(kafka: Cluster) -> None:
    before = micros_now() // 1000 * 1000
    publish(kafka, close(1))
    with consume(ORDER_CLOSE, group="g", cluster=kafka, until_end=True) as records:
        (record,) = records
    assert record.value == close(1)
    assert (record.topic, record.partition, record.offset) == ("order-close", 0, 0)
    assert (record.key, record.event_id) == ("ping:O1", "id-1")
    assert record.headers == {"event-id": b"id-1"}
    assert record.timestamp >= before


def test_what_was_aborted_is_not_seen(kafka: Cluster) -> None:
    publish(kafka, close(1), commit=False)
    publish(kafka, close(2))
    assert seen(kafka) == ["O2"]


def test_repeats_are_dropped_on_request(kafka: Cluster) -> None:
    publish(kafka, close(1), close(2), close(1))
    assert seen(kafka, "all") == ["O1", "O2", "O1"]
    assert seen(kafka, "once", drop_repeats=True) == ["O1", "O2"]


@pytest.mark.parametrize("odd", [None, b"\xff"])
def test_an_event_id_that_is_none_stops_nobody(kafka: Cluster, odd: bytes | None) -> None:
    producer = Producer(kafka.librdkafka())
    value = ORDER_CLOSE.codec.encode(close(1)) if ORDER_CLOSE.codec else b""
    producer.produce(kafka.topic(ORDER_CLOSE.name), value, b"k", headers=[("event-id", odd)])
    assert producer.flush(30) == 0
    assert seen(kafka, drop_repeats=True) == ["O1"]


def test_a_broker_that_does_not_tell_the_group_keeps_nobody_from_reading(
    kafka: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    class Silent(AdminClient):
        def describe_consumer_groups(self, group_ids: Any, *_: Any, **__: Any) -> Any:
            asked.extend(group_ids)
            return {group: Future() for group in group_ids}

    monkeypatch.setattr(consuming, "AdminClient", Silent)
    monkeypatch.setattr(consuming, "_GROUP_SECONDS", 0.0)
    monkeypatch.setattr(consuming, "_ANSWER_SECONDS", 0.01)
    publish(kafka, close(1))
    assert seen(kafka) == ["O1"]
    assert set(asked) == {"g"}


def test_the_record_in_hand_at_an_error_comes_again_and_what_was_done_does_not(
    kafka: Cluster,
) -> None:
    publish(kafka, *(close(number) for number in range(5)))

    def fail_at_the_third() -> None:
        with consume(ORDER_CLOSE, group="g", cluster=kafka) as records:
            for record in records:
                assert record.offset < 2, "the third"

    with pytest.raises(AssertionError, match="the third"):
        fail_at_the_third()
    assert seen(kafka) == ["O2", "O3", "O4"]
    assert seen(kafka) == []


def test_a_record_that_is_none_names_its_place(kafka: Cluster) -> None:
    write_all(kafka, ORDER_CLOSE.name, [(b"k", b"\0not ours")])
    with pytest.raises(UnreadableRecord, match=r"^order-close/[01]/0: "):
        seen(kafka)


def test_a_record_that_is_none_may_be_passed_over_and_told_of(kafka: Cluster) -> None:
    write_all(kafka, ORDER_CLOSE.name, [(b"k", b"\0not ours")])
    publish(kafka, close(1))
    told: list[UnreadableRecord] = []
    with consume(
        ORDER_CLOSE, group="g", cluster=kafka, until_end=True, unreadable=told.append
    ) as records:
        assert [record.value["order_id"] for record in records] == ["O1"]
    assert len(told) == 1
    assert seen(kafka) == [], "it does not come again"


def test_each_record_is_asked_for_by_itself(
    kafka: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To ask is what keeps a member in its group: many records may together take any time."""
    publish(kafka, *(close(number) for number in range(3)))
    asked = [0]

    class Asked(Consumer):
        def poll(self, *arguments: Any) -> Any:
            asked[0] += 1
            return super().poll(*arguments)

    monkeypatch.setattr(consuming, "Consumer", Asked)
    with consume(ORDER_CLOSE, group="g", cluster=kafka, until_end=True) as records:
        first, second, third = (asked[0] for _ in records)
    assert first < second < third


def test_a_record_that_took_too_long_ends_nothing(kafka: Cluster) -> None:
    publish(kafka, *(close(number) for number in range(3)))
    admin = AdminClient(kafka.librdkafka())

    def given_up() -> bool:
        return not admin.describe_consumer_groups(["late"])["late"].result(PATIENCE).members

    orders = []
    with consume(
        ORDER_CLOSE, group="late", cluster=kafka, drop_repeats=True, until_end=True, most_seconds=6
    ) as records:
        for record in records:
            orders.append(record.value["order_id"])
            if orders == ["O0"]:
                until_sync(given_up, "the group to give us up")
    assert orders == ["O0", "O1", "O2"]
    assert seen(kafka, "late") == []


def test_raw_topics_give_bytes_and_deletions_are_left_out(kafka: Cluster) -> None:
    write_all(kafka, DEAD_LETTERS.name, [(b"k", b"\xff"), (b"k", None)])
    with consume(DEAD_LETTERS, group="g", cluster=kafka, until_end=True) as records:
        assert [record.value for record in records] == [b"\xff"]


@asynccontextmanager
async def others(kafka: Cluster, group: str, members: int) -> AsyncIterator[None]:
    """So many other members of the group, which have all partitions and commit nothing."""
    ending = threading.Event()
    settings = {
        **kafka.librdkafka(),
        "group.id": group,
        "partition.assignment.strategy": "cooperative-sticky",
        "enable.auto.commit": False,
    }
    consumers = [Consumer(settings) for _ in range(members)]

    def be_a_member(consumer: Consumer) -> None:
        consumer.subscribe([kafka.topic(ORDER_CLOSE.name)])
        while not ending.is_set():
            consumer.poll(0.1)
        consumer.close()

    tasks = [asyncio.create_task(asyncio.to_thread(be_a_member, one)) for one in consumers]
    admin = AdminClient(kafka.librdkafka())

    def held() -> list[int]:
        try:
            told = admin.describe_consumer_groups([group])[group].result(PATIENCE)
        except KafkaException:  # a broker that has just started has no coordinator yet
            return []
        return [len(one.assignment.topic_partitions) for one in told.members]

    try:
        await until(lambda: held() == [2 // members] * members, "the others to have all")
        yield
    finally:
        ending.set()
        await asyncio.gather(*tasks)


async def test_who_is_left_no_partition_ends_at_the_end_too(kafka: Cluster) -> None:
    publish(kafka, close(1))
    async with (
        others(kafka, "full", 2),
        asyncio.timeout(PATIENCE),
        consume(ORDER_CLOSE, group="full", cluster=kafka, until_end=True) as records,
    ):
        assert [record async for record in records] == []


async def test_who_is_yet_to_get_a_partition_does_not_end_before(kafka: Cluster) -> None:
    publish(kafka, close(1), partition=0)
    publish(kafka, close(1), partition=1)
    async with (
        others(kafka, "half", 1),
        asyncio.timeout(PATIENCE),
        consume(ORDER_CLOSE, group="half", cluster=kafka, until_end=True) as records,
    ):
        assert [record.value["order_id"] async for record in records] == ["O1"]


async def test_with_asyncio_the_loop_goes_on_and_what_was_done_is_kept(kafka: Cluster) -> None:
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


async def test_one_who_waits_for_a_record_can_be_cancelled(kafka: Cluster) -> None:
    waiting = asyncio.Event()

    async def wait() -> None:
        async with consume(ORDER_CLOSE, group="g", cluster=kafka) as records:
            waiting.set()
            async for _ in records:
                raise AssertionError("there is none")

    task = asyncio.create_task(wait())
    await waiting.wait()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    # The group is left: nobody waits for the one who is gone.
    publish(kafka, close(1))
    assert await asyncio.to_thread(seen, kafka) == ["O1"]
