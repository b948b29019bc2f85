"""What clients do at a cluster, and what they see: the same at Kafka and at the simulated one."""

from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from functools import partial
from typing import Any, Protocol

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from connectors.kafka import topic_reader
from connectors.kafka.cluster import Cluster
from schemas.limits import RECORD_BYTES

Seen = list[Any]
IN, OUT, GROUP = "in", "out", "g"


class World(Protocol):
    """A cluster with the topics IN and OUT, of two partitions each, and what is outside of it."""

    cluster: Cluster

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait until the condition holds."""

    def sleep(self, seconds: float) -> None: ...

    def remove_member(self, group: str, member_id: str) -> None:
        """Let the member leave its group without its knowledge."""

    def refusing_first_produce(self) -> AbstractContextManager[Cluster]:
        """Yield the cluster as it is before OUT has leaders: it refuses the first request."""


def producer(world: World, name: str, timeout_ms: int = 10_000, **options: Any) -> Producer:
    """Return a transactional producer that has fenced off the one before."""
    settings = {
        **world.cluster.librdkafka(),
        "transactional.id": world.cluster.prefix + name,
        "transaction.timeout.ms": timeout_ms,
        **options,
    }
    made = world.cluster.clients.producer(settings)
    made.init_transactions(20)
    return made


def consumer(world: World, name: str) -> Consumer:
    """Return a consumer of the group with the settings of the engine's."""
    return world.cluster.clients.consumer(
        {
            **world.cluster.librdkafka(),
            "group.id": world.cluster.prefix + GROUP,
            "client.id": name,
            "partition.assignment.strategy": "range",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "session.timeout.ms": 6000,
            "heartbeat.interval.ms": 200,
        }
    )


def member(world: World, name: str = "m") -> Consumer:
    """Return a consumer that joins the group, to read IN."""
    made = consumer(world, name)
    made.subscribe([world.cluster.topic(IN)])
    return made


def joined(world: World, *members: Consumer, each: int) -> None:
    """Wait until each member has so many partitions."""

    def are_joined() -> bool:
        for one in members:
            one.consume(1, 0.05)
        return all(len(one.assignment()) == each for one in members)

    world.until(are_joined)


def place(world: World, number: int, offset: int = -1001) -> TopicPartition:
    return TopicPartition(world.cluster.topic(IN), number, offset)


def refused(call: Callable[[], Any]) -> tuple[str, bool, bool] | str:
    """Return name, fatal and retriable of the error that the call raises, or its result."""
    try:
        call()
    except KafkaException as error:
        raised: KafkaError = error.args[0]
        return raised.name(), raised.fatal(), raised.retriable()
    return "accepted"


def seen(world: World, topic: str = OUT, isolation: str = "read_committed") -> Seen:
    """Return the records of partition 0 with their offsets, and where its end is."""
    name, options = world.cluster.topic(topic), {"isolation.level": isolation}
    with closing(topic_reader.reader(world.cluster, "reader", **options)) as reader:
        records = [(m.offset(), m.value()) for m in topic_reader.read(reader, name, [0])]
        partition = TopicPartition(name, 0)
        fetched = reader.get_watermark_offsets(partition, cached=True)[1]
        return [*records, fetched, reader.get_watermark_offsets(partition, timeout=10)]


def stable(world: World) -> None:
    """Wait until no transaction is open in partition 0 of OUT: markers come after the answer."""

    def is_stable() -> bool:
        last: Seen = [seen(world)[-1], seen(world, isolation="read_uncommitted")[-1]]
        return bool(last[0] == last[1])

    world.until(is_stable)


def write(world: World, made: Producer, value: bytes) -> None:
    made.produce(world.cluster.topic(OUT), value, b"k", partition=0)


def aborted_records_are_hidden(world: World) -> Seen:
    made = producer(world, "t")
    for value, end in ((b"1", made.commit_transaction), (b"2", made.abort_transaction)):
        made.begin_transaction()
        write(world, made, value)
        made.flush(10)
        end(10)
    stable(world)
    return [seen(world), seen(world, isolation="read_uncommitted")]


def open_transaction_holds_back_its_partition(world: World) -> Seen:
    one, two = producer(world, "one"), producer(world, "two")
    one.begin_transaction()
    write(world, one, b"first")
    one.flush(10)
    two.begin_transaction()
    write(world, two, b"second")
    two.commit_transaction(10)
    # Two records and a marker.
    world.until(lambda: bool(seen(world, isolation="read_uncommitted")[-1] == (0, 3)))
    before = seen(world), seen(world, isolation="read_uncommitted")[:2]
    one.commit_transaction(10)
    stable(world)
    return [before, [record for record in seen(world) if isinstance(record, tuple)][:2]]


def second_producer_fences_the_first(world: World) -> Seen:
    first = producer(world, "t")
    first.begin_transaction()
    write(world, first, b"zombie")
    first.flush(10)
    second = producer(world, "t")
    second.begin_transaction()
    write(world, second, b"new")
    second.commit_transaction(10)
    error = refused(lambda: first.commit_transaction(10))
    stable(world)
    return [error, refused(lambda: first.abort_transaction(10)), seen(world)[:-2]]


def pending_offsets_are_waited_for(world: World) -> Seen:
    group, made = member(world), producer(world, "t")
    joined(world, group, each=2)
    made.begin_transaction()
    made.send_offsets_to_transaction([place(world, 0, 3)], group.consumer_group_metadata(), 10)
    waiting = refused(lambda: group.committed([place(world, 0)], timeout=0.5))
    ours = [place(world, 0)]
    last = topic_reader.stable_offsets(world.cluster, GROUP, ours)[0].offset
    other = group.committed([place(world, 1)], timeout=10)[0].offset
    made.commit_transaction(10)
    after = group.committed([place(world, 0)], timeout=10)[0].offset
    group.close()
    return [waiting, last, other, after]


def aborted_offsets_do_not_count(world: World) -> Seen:
    group, made = member(world), producer(world, "t")
    joined(world, group, each=2)
    for offset, end in ((3, made.commit_transaction), (9, made.abort_transaction)):
        made.begin_transaction()
        made.send_offsets_to_transaction(
            [TopicPartition(world.cluster.topic(IN), 0, offset, "note")],
            group.consumer_group_metadata(),
            10,
        )
        end(10)
    (after,) = group.committed([place(world, 0)], timeout=10)
    group.close()
    return [after.offset, after.metadata]


def new_producer_aborts_what_a_killed_one_left(world: World) -> Seen:
    group, killed = member(world), producer(world, "t")
    joined(world, group, each=2)
    killed.begin_transaction()
    write(world, killed, b"lost")
    killed.flush(10)
    killed.send_offsets_to_transaction([place(world, 0, 5)], group.consumer_group_metadata(), 10)
    producer(world, "t")
    after = group.committed([place(world, 0)], timeout=10)[0].offset
    stable(world)
    group.close()
    return [after, seen(world)[:-2]]


def range_gives_each_member_a_part(world: World) -> Seen:
    one = member(world, "a")
    joined(world, one, each=2)
    two = member(world, "b")
    joined(world, one, two, each=1)
    parts = sorted([p.partition for p in each.assignment()] for each in (one, two))
    two.close()
    joined(world, one, each=2)
    one.close()
    return parts


def earlier_generation_cannot_commit(world: World) -> Seen:
    one, made = member(world, "a"), producer(world, "t")
    joined(world, one, each=2)
    before = one.consumer_group_metadata()
    two = member(world, "b")
    joined(world, one, two, each=1)
    made.begin_transaction()
    stale = refused(lambda: made.send_offsets_to_transaction([place(world, 0, 1)], before, 10))
    made.abort_transaction(10)
    made.begin_transaction()
    now = one.consumer_group_metadata()
    accepted = refused(lambda: made.send_offsets_to_transaction([place(world, 0, 1)], now, 10))
    made.commit_transaction(10)
    one.close()
    two.close()
    return [stale, accepted]


def member_that_is_slow_to_restore_keeps_its_place(world: World) -> Seen:
    """Another one joins meanwhile, and waits for longer than a session lasts."""
    slow, others = consumer(world, "a"), list[Consumer]()

    def assign(_: Consumer, partitions: list[TopicPartition]) -> None:
        if not others:
            others.append(member(world, "b"))
            world.sleep(9)
        slow.assign(partitions)

    slow.subscribe([world.cluster.topic(IN)], on_assign=assign)
    world.until(lambda: slow.consume(1, 0.05) == [] and bool(slow.assignment()))
    before = slow.memberid()
    joined(world, slow, *others, each=1)
    kept = before == slow.memberid()
    for each in (slow, *others):
        each.close()
    return [kept]


def dropped_member_cannot_commit(world: World) -> Seen:
    """Neither before nor after its background has learned of it."""
    one, made = member(world), producer(world, "t")
    joined(world, one, each=2)
    before, member_id = one.consumer_group_metadata(), one.memberid()
    world.remove_member(world.cluster.prefix + GROUP, member_id or "")
    world.until(lambda: one.memberid() != member_id)
    results = []
    for metadata in (before, one.consumer_group_metadata()):
        made.begin_transaction()
        send = partial(made.send_offsets_to_transaction, [place(world, 0, 1)], metadata, 10)
        results.append(refused(send))
        made.abort_transaction(10)
    one.close()
    return results


def transaction_that_takes_too_long_is_aborted(world: World) -> Seen:
    made = producer(world, "t", timeout_ms=1000)
    made.begin_transaction()
    write(world, made, b"late")
    made.flush(10)
    stable(world)
    error = refused(lambda: made.commit_transaction(10))
    return [error, seen(world)[:-2]]


def record_that_is_too_large_is_refused(world: World) -> Seen:
    """By the client, or by the broker if the client's limit is larger than the topic's."""
    narrow = producer(world, "narrow")
    wide = producer(world, "wide", **{"message.max.bytes": 2 * RECORD_BYTES})
    narrow.begin_transaction()
    by_client = refused(lambda: write(world, narrow, bytes(RECORD_BYTES)))
    wide.begin_transaction()
    write(world, wide, bytes(RECORD_BYTES))
    wide.flush(10)
    by_broker = refused(lambda: wide.commit_transaction(10))
    wide.abort_transaction(10)
    return [by_client, by_broker]


def _delivered(errors: list[Any], error: KafkaError | None, _: object) -> None:
    errors.append(error)


def new_partition_may_take_the_second_of_two_requests(world: World) -> Seen:
    """The producer learns nothing of it, and only one that sends one at a time loses nothing."""
    for in_flight in (1, 5):
        options = {"max.in.flight.requests.per.connection": in_flight, "batch.num.messages": 1}
        errors: list[Any] = []
        with world.refusing_first_produce() as cluster:
            made = cluster.clients.producer(
                {**cluster.librdkafka(), "enable.idempotence": True, **options}
            )
            for number in range(2):
                made.produce(
                    cluster.topic(OUT),
                    f"{in_flight} {number}".encode(),
                    partition=0,
                    on_delivery=partial(_delivered, errors),
                )
            made.flush(20)
        assert errors == [None, None]
    return [value for _, value in seen(world)[:-2]]


SCRIPTS = (
    aborted_records_are_hidden,
    open_transaction_holds_back_its_partition,
    second_producer_fences_the_first,
    pending_offsets_are_waited_for,
    aborted_offsets_do_not_count,
    new_producer_aborts_what_a_killed_one_left,
    range_gives_each_member_a_part,
    earlier_generation_cannot_commit,
    member_that_is_slow_to_restore_keeps_its_place,
    dropped_member_cannot_commit,
    transaction_that_takes_too_long_is_aborted,
    record_that_is_too_large_is_refused,
    new_partition_may_take_the_second_of_two_requests,
)
