"""The lookup and the settle process on a real broker: what one process did not finish, the next
one does.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from aiokafka.errors import IllegalStateError
from confluent_kafka import Consumer, ConsumerGroupState, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from connectors.intake import Intake, Taken
from connectors.kafka import Cluster
from connectors.lookup import desk as lookup
from connectors.publish import Publisher
from connectors.settle import Office
from connectors.settle import desk as settle
from schemas import codec
from schemas.codec import ORDER_UPDATE, SchemaAway
from tests.connectors import test_lookup, test_settle
from tests.reading import read_all, write_all
from tests.waiting import until, until_told


@asynccontextmanager
async def together(*services: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    tasks = [asyncio.ensure_future(service()) for service in services]
    yield
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def all_done(cluster: Cluster, group: str, topic: str) -> bool:
    """Whether the group has committed everything up to the topic's end."""
    consumer = Consumer({**cluster.librdkafka(), "group.id": cluster.prefix + group})
    name = cluster.topic(topic)
    partitions = [
        TopicPartition(name, n) for n in consumer.list_topics(name).topics[name].partitions
    ]
    ends = [consumer.get_watermark_offsets(partition)[1] for partition in partitions]
    committed = [max(0, partition.offset) for partition in consumer.committed(partitions)]
    consumer.close()
    return committed == ends


@asynccontextmanager
async def looking_up(cluster: Cluster, api: test_lookup.Api) -> AsyncIterator[lookup.Desk]:
    """The lookup process's parts on a real cluster."""
    publisher = Publisher(cluster)
    async with httpx.AsyncClient(transport=httpx.MockTransport(api.answer)) as client:
        desk = lookup.Desk(test_lookup.an_ipint(), client, publisher, test_lookup.QUICK)
        intake = Intake(cluster, "lookup-ipint", ["lookups"], desk.take, desk.room)
        async with together(publisher.run, desk.run, intake.run):
            yield desk


HERE, ELSEWHERE = TopicPartition("lookups", 0), TopicPartition("lookups", 1)


class Fetched:
    """A consumer that has one record of each of two partitions, and commits as aiokafka does."""

    def __init__(self) -> None:
        self.assigned = {HERE, ELSEWHERE}
        self.committed: dict[TopicPartition, tuple[int, str]] = {}
        self._coordinator = self
        self._batches = [{place: [SimpleNamespace(offset=0)] for place in (HERE, ELSEWHERE)}]

    def assignment(self) -> set[TopicPartition]:
        return self.assigned

    def paused(self) -> set[TopicPartition]:
        return set()

    def resume(self, *partitions: TopicPartition) -> None:
        """None is ever paused."""

    async def getmany(self, timeout_ms: int, max_records: int) -> Any:
        await asyncio.sleep(0)
        return self._batches.pop() if self._batches else {}

    async def fetch_committed_offsets(self, partitions: list[TopicPartition]) -> dict[Any, Any]:
        return {}

    async def commit(self, offsets: dict[TopicPartition, tuple[int, str]]) -> None:
        if not offsets.keys() <= self.assigned:
            raise IllegalStateError("not assigned")
        self.committed |= offsets


async def test_a_partition_that_goes_in_the_middle_of_a_batch_keeps_no_other_from_committing() -> (
    None
):
    consumer, seen = Fetched(), []

    async def take(taken: Taken) -> None:
        seen.append(taken)
        intake.forget([ELSEWHERE])
        consumer.assigned.discard(ELSEWHERE)
        taken.done()

    intake = Intake(Cluster("nowhere"), "g", ["lookups"], take, lambda: 10)
    async with together(lambda: intake._consume(consumer)):
        await until(lambda: consumer.committed == {HERE: (1, "")}, "the commit")
    assert len(seen) == 1


@pytest.mark.kafka
async def test_a_schema_that_nobody_can_name_now_is_waited_for(kafka: Cluster) -> None:
    write_all(kafka, "lookups", [(b"ipint:a", b"\0\0\0\0\7what another release wrote")])
    write_all(kafka, "lookups", [(b"ipint:b", test_lookup.request("b", reason="POLL"))])
    met: list[int] = []

    def away(number: int) -> str:
        met.append(number)
        raise SchemaAway(f"schema {number} cannot be looked up")

    api = test_lookup.Api()
    codec.ask(away)
    try:
        async with looking_up(kafka, api):
            await until(lambda: len(met) > 1, "it to be met again")
            codec.ask(None)
            await until_told(lambda: all_done(kafka, "lookup-ipint", "lookups"), "every offset")
    finally:
        codec.ask(None)
    # What was not committed when it started over is done again.
    assert set(api.asked) == {"b"}
    assert len({dict(m.headers() or [])["origin"] for m in read_all(kafka, "dead-letters")}) == 1


@pytest.mark.kafka
async def test_a_lookup_not_answered_is_asked_again_by_the_next_process(kafka: Cluster) -> None:
    links = [f"i{number}" for number in range(40)]
    write_all(
        kafka, "lookups", [(b"ipint:" + k.encode(), test_lookup.request(k, "PAID")) for k in links]
    )
    write_all(kafka, "lookups", [(b"ipint:broken", b"junk"), (None, b"junk")])
    ready: dict[str, Sequence[str | int | Exception]] = {link: ["COMPLETED"] for link in links}
    first = test_lookup.Api(**{**ready, "i7": [httpx.ConnectError("away")]})
    async with looking_up(kafka, first) as desk:
        await until(lambda: set(first.asked) == set(links), "the first process")
        one_waits = test_lookup.QUICK.most_waiting - 1
        await until(lambda: desk.room() == one_waits, "all answers but one")
    second = test_lookup.Api(**ready)

    def answered() -> set[str]:
        return {
            dict(message.headers() or [])["lookup-link"].decode()  # type: ignore[union-attr]
            for message in read_all(kafka, "callbacks.ipint")
        }

    assert "i7" not in answered()
    async with looking_up(kafka, second):
        await until(lambda: "i7" in second.asked, "the second process")
        await until_told(lambda: answered() == set(links), "every answer")
        await until_told(lambda: all_done(kafka, "lookup-ipint", "lookups"), "every offset")
    # iPint's rule: what was answered with an end is not asked again, not even by a new process.
    assert set(second.asked) == {"i7"}
    # A repeat of a dead letter says the same origin.
    assert len({dict(m.headers() or [])["origin"] for m in read_all(kafka, "dead-letters")}) == 2
    third = test_lookup.Api()
    write_all(kafka, "lookups", [(b"ipint:last", test_lookup.request("last", reason="POLL"))])
    async with looking_up(kafka, third):
        await until(lambda: "last" in third.asked, "the third process")
    assert third.asked == ["last"]


@pytest.mark.kafka
async def test_one_process_looks_up_and_a_second_stands_by_until_it_is_needed(
    kafka: Cluster,
) -> None:
    def write(*links: str) -> None:
        asked = [(b"ipint:" + k.encode(), test_lookup.request(k, reason="POLL")) for k in links]
        write_all(kafka, "lookups", asked)

    one, two = ([f"{name}{number}" for number in range(20)] for name in ("a", "b"))
    first, second = test_lookup.Api(), test_lookup.Api()
    async with AsyncExitStack() as still_there:
        async with looking_up(kafka, first):
            await until_told(lambda: members(kafka, "lookup-ipint") == 1, "the first process")
            await still_there.enter_async_context(looking_up(kafka, second))
            await until_told(lambda: members(kafka, "lookup-ipint") == 2, "the second process")
            write(*one)
            await until(lambda: set(first.asked) == set(one), "the questions")
            assert second.asked == []
        write(*two)
        await until(lambda: set(second.asked) >= set(two), "the second process at work")


def members(cluster: Cluster, group: str) -> int:
    """How many processes of the group have joined it and know what is theirs."""
    admin = AdminClient(cluster.librdkafka())
    name = cluster.prefix + group
    try:
        told = admin.describe_consumer_groups([name], request_timeout=5)[name].result()
    except KafkaException:  # a broker that has just started has no coordinator yet
        return 0
    return len(told.members) if told.state == ConsumerGroupState.STABLE else 0


@asynccontextmanager
async def settling(cluster: Cluster, payments: test_settle.Payments) -> AsyncIterator[None]:
    """The settle process's parts on a real cluster."""
    publisher = Publisher(cluster)
    async with httpx.AsyncClient(transport=httpx.MockTransport(payments.answer)) as client:
        desk = settle.Desk("ping", test_settle.PING, client, publisher, test_settle.QUICK)
        office = Office(cluster, {"ping": desk}, publisher, test_settle.QUICK)
        topics = ["order-close", "settlement"]
        intake = Intake(cluster, "settle", topics, office.take, office.room)
        async with together(publisher.run, desk.run, intake.run):
            yield


@pytest.mark.kafka
async def test_an_order_that_waited_is_taken_up_by_the_next_process(kafka: Cluster) -> None:
    write_all(
        kafka,
        "order-close",
        [(b"ping:o1", test_settle.close("o1")), (b"ping:o2", test_settle.close("o2"))],
    )
    write_all(
        kafka, "settlement", [(b"ping:o2", test_settle.settlement("o2")), (b"ping:o2", b"junk")]
    )

    def reported() -> set[tuple[str, str]]:
        updates = [ORDER_UPDATE.decode(m.value()) for m in read_all(kafka, "order-updates")]
        return {(update["order_id"], update["step"]) for update in updates}

    o2 = {("o2", "CLOSED"), ("o2", "SPLIT"), ("o2", "SETTLED")}
    waiting = test_settle.Payments(o1_close=[403] * 1_000_000)
    async with settling(kafka, waiting):
        await until(lambda: "o2 settle" in waiting.called, "the order that was ready")
        await until_told(lambda: reported() == o2, "its reports")
    ready = test_settle.Payments()
    async with settling(kafka, ready):
        await until(lambda: "o1 close" in ready.called, "the next process")
        await until_told(lambda: reported() == {*o2, ("o1", "CLOSED")}, "the order that waited")
    # A repeat of a dead letter says the same origin.
    assert len({dict(m.headers() or [])["origin"] for m in read_all(kafka, "dead-letters")}) == 1
