"""`consume` of the test kit meets a service with what Kafka may meet it with."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any, cast

import pytest

from schemas.codec import BadRecord
from schemas.topics import (
    ANOMALIES,
    DEAD_LETTERS,
    LINK_STATUS,
    ORDER_CLOSE,
    ORDER_CORRECTIONS,
    REFUNDS,
    SETTLEMENT,
    Topic,
)
from streams.consumer import Consumed, UnreadableRecord
from streams.testing import (
    Crashed,
    InMemoryKafka,
    anomaly,
    link_status,
    order_close,
    order_correction,
    refund,
    settlement,
)

SEEDS = range(8)
CLOSES = [order_close(f"O{number}") for number in range(6)]


def read(kafka: InMemoryKafka, topic: Topic[Any] = ORDER_CLOSE, **options: Any) -> list[Any]:
    with kafka.consume(topic, group="g", **options) as records:
        return list(records)


def order_ids(records: list[Consumed[Any]]) -> list[str]:
    return [record.value["order_id"] for record in records]


def test_record_is_as_from_kafka() -> None:
    kafka = InMemoryKafka()
    kafka.publish(ORDER_CLOSE, CLOSES[1])
    (record,) = read(kafka)
    assert record.value == CLOSES[1]
    assert record.value is not CLOSES[1]
    assert (record.topic, record.offset, record.key) == ("order-close", 0, "ping:O1")
    assert record.event_id == CLOSES[1]["event_id"] == record.headers["ce_id"].decode()
    assert read(kafka) == [], "it is committed"


@pytest.mark.parametrize(
    ("topic", "event"),
    [
        (ORDER_CLOSE, order_close()),
        (ORDER_CORRECTIONS, order_correction(order_close(), 900)),
        (SETTLEMENT, settlement()),
        (REFUNDS, refund()),
        (ANOMALIES, anomaly()),
    ],
)
def test_each_kind_of_event_is_read(topic: Topic[Any], event: Any) -> None:
    kafka = InMemoryKafka()
    kafka.publish(topic, event)
    assert [record.value for record in read(kafka, topic)] == [event]


def test_event_that_does_not_fit_and_other_topics_are_refused() -> None:
    kafka = InMemoryKafka()
    with pytest.raises(BadRecord):
        kafka.publish(ANOMALIES, cast("Any", order_close() | {"link_id": "L1"}))
    with pytest.raises(ValueError, match="no records of dead-letters"):
        kafka.publish(DEAD_LETTERS, b"")
    assert read(kafka) == []


def test_order_is_kept_for_each_key_and_only_there() -> None:
    events = [order_correction(close, 100 + n, number=n) for n in range(1, 4) for close in CLOSES]
    orders = set()
    for seed in SEEDS:
        kafka = InMemoryKafka(seed=seed)
        kafka.publish(ORDER_CORRECTIONS, *events)
        records = read(kafka, ORDER_CORRECTIONS)
        numbers = defaultdict(list)
        for record in records:
            numbers[record.key].append(record.value["number"])
        assert set(map(tuple, numbers.values())) == {(1, 2, 3)}
        orders.add(tuple(order_ids(records)))
    assert len(orders) == len(SEEDS)


def test_repeat_has_the_same_id_at_another_offset_and_is_dropped_on_request() -> None:
    kafka = InMemoryKafka(repeats=True)
    kafka.publish(ORDER_CLOSE, *CLOSES)
    records = read(kafka)
    assert len({record.event_id for record in records}) == len(CLOSES)
    assert len({(record.partition, record.offset) for record in records}) == 2 * len(CLOSES)
    kafka = InMemoryKafka(repeats=True)
    kafka.publish(ORDER_CLOSE, *CLOSES)
    assert sorted(order_ids(read(kafka, drop_repeats=True))) == [f"O{n}" for n in range(6)]


@pytest.mark.parametrize("seed", SEEDS)
def test_each_record_comes_again_after_a_crash_between_act_and_commit(seed: int) -> None:
    kafka = InMemoryKafka(seed=seed, crashes=True)
    kafka.publish(ORDER_CLOSE, *CLOSES)
    acted: list[str] = []

    def service() -> str:
        with kafka.consume(ORDER_CLOSE, group="g", drop_repeats=True) as records:
            for record in records:
                acted.append(record.value["order_id"])
        return "ended"

    assert kafka.run(service) == "ended"
    counts = [acted.count(f"O{number}") for number in range(6)]
    assert min(counts) >= 2, "each has crashed once"
    assert max(counts) >= 2
    assert order_ids(read(kafka)) == [], "all is committed at the end"


def test_some_crash_takes_back_what_was_done_before() -> None:
    def acts(seed: int) -> int:
        kafka, acted = InMemoryKafka(seed=seed, crashes=True), list[str]()
        kafka.publish(ORDER_CLOSE, *CLOSES)

        def service() -> None:
            with kafka.consume(ORDER_CLOSE, group="g") as records:
                acted.extend(record.key for record in records)

        kafka.run(service)
        return len(acted)

    assert max(map(acts, SEEDS)) > 2 * len(CLOSES)


def test_crash_passes_a_handler_and_an_error_keeps_what_is_done() -> None:
    kafka = InMemoryKafka(crashes=True)
    kafka.publish(ORDER_CLOSE, CLOSES[0])
    with pytest.raises(Crashed, match="order-close/0/0 is not committed"):
        handling(lambda: read(kafka))
    kafka = InMemoryKafka()
    kafka.publish(ORDER_CLOSE, *CLOSES)
    seen: list[str] = []

    def fail_at_the_third() -> None:
        with kafka.consume(ORDER_CLOSE, group="g") as records:
            for record in records:
                seen.append(record.key)
                assert len(seen) < 3, "the third"

    with pytest.raises(AssertionError, match="the third"):
        fail_at_the_third()
    again = [record.key for record in read(kafka)]
    assert set(again) == {f"ping:O{n}" for n in range(6)} - set(seen[:2])


def handling(service: Callable[[], object]) -> None:
    try:
        service()
    except Exception:
        raise AssertionError("a crash is no error of the service") from None


def test_groups_read_for_themselves() -> None:
    kafka = InMemoryKafka()
    kafka.publish(ORDER_CLOSE, CLOSES[0])
    for group in "ab":
        with kafka.consume(ORDER_CLOSE, group=group) as records:
            assert order_ids(list(records)) == ["O0"]


async def test_with_asyncio() -> None:
    kafka = InMemoryKafka(repeats=True)
    kafka.publish(ORDER_CLOSE, *CLOSES)
    async with kafka.consume(ORDER_CLOSE, group="g", drop_repeats=True) as records:
        assert len([record async for record in records]) == len(CLOSES)


def test_unreadable_record_stops_a_service_that_does_not_handle_it() -> None:
    kafka = InMemoryKafka()
    kafka.publish_bytes(ORDER_CLOSE, "ping:O1", b"no Avro")
    with pytest.raises(UnreadableRecord, match="order-close/0/0"):
        read(kafka)


def test_unreadable_record_goes_to_the_service_and_the_next_follows() -> None:
    kafka = InMemoryKafka()
    kafka.publish_bytes(ORDER_CLOSE, "ping:O1", b"no Avro")
    kafka.publish(ORDER_CLOSE, CLOSES[1])
    unreadable: list[UnreadableRecord] = []
    assert order_ids(read(kafka, on_unreadable=unreadable.append)) == ["O1"]
    assert len(unreadable) == 1


def test_row_of_a_link_is_read_as_it_is() -> None:
    kafka = InMemoryKafka()
    kafka.publish(LINK_STATUS, link_status("L1"))
    (record,) = read(kafka, LINK_STATUS)
    assert (record.key, record.value, record.event_id) == ("ping:L1", link_status("L1"), None)
