"""One membership of a stage in its consumer group: consumer, transactional producer, tables.

A session ends with its first error, and the stage then opens another one. That is the whole error
handling: nothing is repaired in place, and everything starts again from what Kafka has."""

import logging
import threading
from collections import deque
from collections.abc import Callable
from itertools import product
from typing import Any

from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from connectors.kafka import topic_reader
from connectors.kafka.cluster import Cluster
from connectors.kafka.sync_producer import produce
from connectors.kafka.transactional_producer import CoordinatorStuck
from streams.engine.batch import Batch
from streams.engine.clients import group_consumer, transactional_producer
from streams.engine.group import Group
from streams.engine.priority_topics import PriorityTopics
from streams.engine.restore import TableReader
from streams.engine.spec import StageSpec
from streams.engine.table import TablePartition

log = logging.getLogger(__name__)

Partitions = frozenset[tuple[str, int]]

# A coordinator that has not taken the offsets by then has gone, or waits for brokers that have.
_OFFSETS_SECONDS = 2.0


class Session:
    """Open, join and use it in one thread. It fills `tables`, by step and partition, with the
    partitions that it holds, and calls `on_assigned` with all of them whenever they change, and
    with None when they are taken away. Once `ending` is set it does not join again. `own_ids`
    are the ids that this and earlier sessions of the worker have had in the group.

    Partition number p is its own only if p of every input is: all inputs and tables have the same
    number of partitions, all members subscribe to the same inputs, and `range` then gives each
    number to one member. `range` revokes before it assigns, so no rebalance aborts a batch.

    Raises:
        KafkaException: from every method; close the session then.
        NameTaken: another worker of this name has joined.
    """

    def __init__(
        self,
        spec: StageSpec,
        cluster: Cluster,
        instance: str,
        tables: dict[str, dict[int, TablePartition[Any]]],
        on_assigned: Callable[[Partitions | None], None],
        ending: threading.Event | None = None,
        own_ids: deque[str] | None = None,
    ) -> None:
        self.spec = spec
        self.cluster = cluster
        self._monotonic = cluster.clients.monotonic
        self.tables = tables
        self._on_assigned = on_assigned
        self._callback_error: Exception | None = None
        self._ending = ending or threading.Event()
        self._closing = False
        # Whether Kafka is about to assign partitions.
        self._joining = False
        self._own_ids = deque[str]() if own_ids is None else own_ids
        # Counts assignments and revocations, to notice one between two calls.
        self._assignments = 0
        # The next offset to commit of each partition held; negative if nothing is committed yet.
        self._next: dict[tuple[str, int], int] = {}
        self._group = Group(cluster, spec.group)
        if self._own_ids:
            # At the first session a killed worker of this name may still be a member.
            self._group.check_name(instance, self._own_ids)
        self._id = f"{self._group.name}.{instance}"
        self._producer = transactional_producer(cluster, self._id)
        self._consumer = group_consumer(cluster, self._group.name, instance)
        # How many partitions each topic has.
        self.partition_count = self._count_partitions()
        self._reader = TableReader(cluster, spec.group, spec.table_topics)
        self._priority = PriorityTopics(
            self._consumer, map(cluster.topic, spec.priority), self._monotonic
        )

    def join(self) -> None:
        """Join the group. All connections are open by now: each member waits for the last one."""
        self._joining = True
        self._consumer.subscribe(
            [self.cluster.topic(topic) for topic in self.spec.step_of],
            on_assign=self._guarded(self._assign),
            on_revoke=self._guarded(self._revoke),
            on_lost=self._guarded(self._lose),
        )

    def _guarded(self, callback: Callable[[list[TopicPartition]], None]) -> Any:
        """Keep the first exception for `consume`: librdkafka drops exceptions of its callbacks."""

        def guarded(consumer: Consumer, partitions: list[TopicPartition]) -> None:
            if self._closing:
                self._joining = False
                return consumer.unassign()
            try:
                return callback(partitions)
            except Exception as error:
                self._callback_error = self._callback_error or error

        return guarded

    def _assign(self, partitions: list[TopicPartition]) -> None:
        """Restore the tables, then start at the committed offsets.

        The order matters. The last transaction of the previous owner may still be committing. The
        request for the committed offsets waits for its end (KIP-447), so that the tables read
        afterwards have its rows.
        """
        started = self._monotonic()
        self._joining = False
        self._own_ids.append(self._consumer.memberid() or "")
        numbers = self._whole_numbers(partitions)
        offsets = self._group.start_offsets(self._consumer, partitions)
        restored = self._restore(numbers, {(p.topic, p.partition): p.offset for p in offsets})
        self._consumer.assign(offsets)
        self._assignments += 1
        self._priority.on_assign(offsets, self._reader.offsets)
        self._on_assigned(frozenset(self._next))
        log.info(
            "%s: partitions %s assigned, tables of %s restored, after %.2f s",
            self.spec.name,
            sorted(numbers),
            sorted(restored),
            self._monotonic() - started,
        )

    def _whole_numbers(self, partitions: list[TopicPartition]) -> set[int]:
        """Return the partition numbers that are assigned in every input.

        Raises:
            KafkaException: some input lacks a number that another has. Their tables would have two
                owners.
        """
        numbers = {p.partition for p in partitions}
        inputs = {self.cluster.topic(topic) for topic in self.spec.step_of}
        if {(p.topic, p.partition) for p in partitions} != set(product(inputs, numbers)):
            raise _failure("the assignment is partial: `linkstatus topics check` names the cause")
        return numbers

    def _count_partitions(self) -> int:
        """Return the number of partitions that all inputs and tables have. It also loads their
        metadata, which makes the assignment quick. (In a callback of the consumer, `list_topics`
        crashes confluent-kafka: it forgets the call around it.)
        """
        of_stage = (*self.spec.step_of, *self.spec.table_topics)
        names = {self.cluster.topic(topic) for topic in of_stage}
        topics = topic_reader.existing(self._consumer, names)
        counts = {name: len(topic.partitions) for name, topic in topics.items()}
        if len(counts) < len(names) or len(set(counts.values())) != 1:
            raise _failure(
                f"the topics need the same number of partitions, and have {counts}: "
                "`linkstatus topics check` names the differences"
            )
        return next(iter(counts.values()))

    def _restore(self, numbers: set[int], offsets: dict[tuple[str, int], int]) -> set[int]:
        """Keep the tables of partitions that stayed ours, drop the others, and read what is
        missing. Return the numbers that were read.

        A partition stayed ours if its committed offsets are those that this session committed.
        """
        held, self._next = self._next, offsets
        moved = {
            number
            for (topic, number), offset in offsets.items()
            if held.get((topic, number)) != offset
        }
        missing: dict[str, dict[int, TablePartition[Any]]] = {}
        for name, table in self.spec.tables.items():
            partitions = self.tables[name]
            for number in partitions.keys() - (numbers - moved):
                del partitions[number]
            if absent := numbers - partitions.keys():
                missing[table.topic] = {
                    number: TablePartition(table.encode, table.decode) for number in absent
                }
        if missing:
            self._reader.restore(missing)
        for name, table in self.spec.tables.items():
            self.tables[name].update(missing.get(table.topic, {}))
        return moved

    def _revoke(self, partitions: list[TopicPartition]) -> None:
        """Stop until the next assignment, which tells which tables remain."""
        self._assignments += 1
        self._priority.on_revoke()
        self._joining = not self._ending.is_set()
        if not self._joining:
            # Leave, in place of joining again.
            self._consumer.unsubscribe()
        self._consumer.unassign()
        self._on_assigned(None)

    def _lose(self, partitions: list[TopicPartition]) -> None:
        """End the session: the group went on without it, and other workers may have written."""
        self._on_assigned(None)
        raise KafkaException(KafkaError(KafkaError.ILLEGAL_GENERATION, "partitions lost"))

    def consume(self, seconds: float) -> list[Message]:
        """Return the available records, at most a batch. Wait up to `seconds` for the first."""
        messages = self._consumer.consume(1, seconds)
        assignments = self._assignments
        if messages and self.spec.batch_size > 1:
            more = self._consumer.consume(self.spec.batch_size - 1, 0)
            # After a revocation the first record may be another worker's. After an assignment it
            # comes again: that starts at the committed offsets.
            messages = [*messages, *more] if assignments == self._assignments else more
        if self._callback_error is not None:
            raise self._callback_error
        for message in messages:
            if message.error() is not None:
                raise KafkaException(message.error())
        self._priority.on_consume(messages)
        return messages

    def commit(self, batch: Batch) -> None:
        """Commit outputs, table rows and offsets in one transaction.

        If this raises, the transaction may or may not have committed.
        """
        # Without records the known offsets are sent: they fence off a worker that has lost its
        # partitions and does not know it yet.
        offsets = [
            # The next owner finds in the metadata whose transaction may be pending.
            TopicPartition(topic, number, offset, self._id)
            for (topic, number), offset in (_next_offsets(batch.messages) or self._known()).items()
        ]
        try:
            self._send(batch, offsets)
        except CoordinatorStuck as error:
            # The transaction has not committed: nothing has requested its end. A new producer
            # aborts it, and finds the group's coordinator of now.
            log.warning("%s: sending the batch again: %s", self.spec.name, error)
            self._producer = transactional_producer(self.cluster, self._id)
            self._send(batch, offsets)
        self._producer.commit_transaction(15)
        self._next.update({(o.topic, o.partition): o.offset for o in offsets})
        for tables in self.tables.values():
            for table in tables.values():
                table.commit()

    def _send(self, batch: Batch, offsets: list[TopicPartition]) -> None:
        """Begin a transaction, and send everything that is in it."""
        self._producer.begin_transaction()
        for output in batch.outputs:
            topic = self.cluster.topic(output.topic)
            produce(self._producer, topic, output.value, output.key, headers=output.headers)
        self._produce_rows()
        if offsets:
            group = self._consumer.consumer_group_metadata()
            self._producer.send_offsets_to_transaction(offsets, group, _OFFSETS_SECONDS)

    def _known(self) -> dict[tuple[str, int], int]:
        return {partition: offset for partition, offset in self._next.items() if offset >= 0}

    def _produce_rows(self) -> None:
        for name, table in self.spec.tables.items():
            topic = self.cluster.topic(table.topic)
            for number, rows in self.tables[name].items():
                for key, value in rows.changes().items():
                    produce(self._producer, topic, value, key, partition=number)

    def end_joining(self, seconds: float) -> None:
        """Wait until a rebalance under way has ended, for so many seconds at most.

        A broker handles the requests of a connection in their order, so a member that leaves while
        it joins is in the new generation, and makes it invalid at once. Then librdkafka lets all
        other members wait until a second has passed since their last join.
        """
        self._closing = True
        deadline = self._monotonic() + seconds
        while self._joining and self._monotonic() < deadline:
            self._consumer.consume(1, 0.05)

    def close(self) -> None:
        """Leave the group, and abort the open transaction and the pending rows."""
        self._closing = True
        for tables in self.tables.values():
            tables.clear()
        try:
            self._producer.abort_transaction(5)
        except KafkaException as error:
            # No transaction is open, or the session is fenced, or the broker is away. The next
            # session's producer then aborts it.
            log.debug("%s: no abort: %s", self.spec.name, error)
        self._consumer.close()
        self._reader.close()
        # The consumer's callbacks refer to the session: without this, both and the producer's
        # threads would live until a full garbage collection.
        del self._consumer, self._producer, self._priority, self._reader, self._group


def _failure(message: str) -> KafkaException:
    return KafkaException(KafkaError(KafkaError._INVALID_ARG, message))


def _next_offsets(messages: list[Message]) -> dict[tuple[str, int], int]:
    """Return for each partition in the batch the offset after its last record."""
    last = {(message.topic(), message.partition()): message.offset() for message in messages}
    return {
        (topic, partition): offset + 1
        for (topic, partition), offset in last.items()
        if topic is not None and partition is not None and offset is not None
    }
