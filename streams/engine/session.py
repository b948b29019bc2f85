"""One membership of a stage in its consumer group: consumer, transactional producer, restored
tables.

A session ends with its first error; the stage then opens a new one. That is the whole error
handling: nothing is repaired in place, everything is taken up again from what Kafka has."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)

from connectors import producing
from connectors.kafka import Cluster
from schemas.codec import Codec
from streams.engine.batch import Batch
from streams.engine.precedence import Precedence
from streams.engine.table import Partition

log = logging.getLogger(__name__)

# A dead worker's open transaction hides later records from readers for no longer than this.
TRANSACTION_TIMEOUT_MS = 10_000


@dataclass(frozen=True, slots=True)
class StageSpec:
    """What a stage is: its inputs, and the compacted topic that is its table, if it has one.

    A stage with a table has one input topic, with as many partitions as the table. Of `first` what
    has waited is taken before anything of the other inputs.
    """

    name: str
    inputs: tuple[str, ...]
    table: str | None = None
    codec: Codec[Any] | None = None
    batch_size: int = 1000
    first: tuple[str, ...] = ()


@dataclass
class Session:
    """Opened in and used by one thread, the stage's."""

    spec: StageSpec
    cluster: Cluster
    instance: str
    tables: dict[int, Partition[Any]] = field(default_factory=dict)
    on_assigned: Callable[[frozenset[tuple[str, int]]], None] = lambda partitions: None

    def open(self) -> None:
        """Fences off a predecessor of the same name, then joins the group."""
        name = f"{self.cluster.prefix}linkstatus.{self.spec.name}"
        self._failed: KafkaException | None = None
        # Of every partition that is ours, the offset after the last record committed (negative:
        # none yet).
        self._next: dict[tuple[str, int], int] = {}
        self._producer = Producer(self._producer_settings(f"{name}.{self.instance}"), logger=log)
        self._producer.init_transactions(30)
        self._consumer = Consumer(self._consumer_settings(name), logger=log)
        first = map(self.cluster.topic, self.spec.first)
        self._precedence = Precedence(self._consumer, first)
        self._consumer.subscribe(
            [self.cluster.topic(topic) for topic in self.spec.inputs],
            on_assign=self._guarded(self._assign),
            on_revoke=self._guarded(self._revoke),
            on_lost=self._guarded(self._lose),
        )

    def _producer_settings(self, transactional_id: str) -> dict[str, Any]:
        return {
            **producing.settings(self.cluster),
            "transactional.id": transactional_id,
            "transaction.timeout.ms": TRANSACTION_TIMEOUT_MS,
            # A commit flushes; until then larger batches are cheaper.
            "linger.ms": 5,
            "queue.buffering.max.messages": 1_000_000,
            "queue.buffering.max.kbytes": 1_048_576,
            # While markers of the last commit are written the broker answers
            # CONCURRENT_TRANSACTIONS; the default of 100 ms before asking again would be most of
            # our latency. It doubles each time: without a low bound it overshoots by as much.
            "retry.backoff.ms": 1,
            "retry.backoff.max.ms": 10,
        }

    def _consumer_settings(self, group: str) -> dict[str, Any]:
        return {
            **self.cluster.librdkafka(),
            "group.id": group,
            "client.id": self.instance,
            "partition.assignment.strategy": "cooperative-sticky",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            # The least that brokers allow by default: a killed worker is missed for so long.
            "session.timeout.ms": 6_000,
            "heartbeat.interval.ms": 1_000,
            # Defaults of a second here would stall a consumer whose queue was full, or after an
            # error.
            "fetch.queue.backoff.ms": 10,
            "fetch.error.backoff.ms": 50,
        }

    def _guarded(self, callback: Callable[[list[TopicPartition]], None]) -> Any:
        """librdkafka drops exceptions of its callbacks: keep the first and raise it after
        `consume`.
        """

        def guarded(_: Consumer, partitions: list[TopicPartition]) -> None:
            try:
                callback(partitions)
            except KafkaException as error:
                self._failed = self._failed or error

        return guarded

    def _assign(self, partitions: list[TopicPartition]) -> None:
        """Restores the tables, then starts at the committed offsets.

        The order matters. A predecessor's last transaction may still be committing; asking for the
        committed offsets waits until it has (KIP-447), so that the tables read afterwards hold its
        rows."""
        started = time.monotonic()
        committed = self._committed(partitions)
        for partition in committed:
            if partition.error is not None:
                raise KafkaException(partition.error)
            if partition.offset < 0:
                partition.offset = OFFSET_BEGINNING
        self._restore([partition.partition for partition in partitions])
        self._next.update({(p.topic, p.partition): p.offset for p in committed})
        self._consumer.incremental_assign(committed)
        self._precedence.assigned(committed)
        self.on_assigned(frozenset(self._next))
        rows = sum(len(table) for table in self.tables.values())
        log.info(
            "%s: %d partitions assigned, %d rows held, after %.2f s",
            self.spec.name,
            len(partitions),
            rows,
            time.monotonic() - started,
        )

    def _committed(self, partitions: list[TopicPartition]) -> list[TopicPartition]:
        """The committed offsets, once no transaction is pending on them.

        A broker that was killed can lose sight of one for good ("hanging transaction"): no marker
        ever ends it, and the question is never answered. Every transaction that could still commit
        has ended after the wait, so the last offsets that are certain are then taken instead.
        Records may be taken again; the rules are idempotent, so an event can at most repeat with
        its `event_id`.
        """
        try:
            return self._consumer.committed(partitions, timeout=2 * TRANSACTION_TIMEOUT_MS / 1000)
        except KafkaException as error:
            if error.args[0].code() != KafkaError._TIMED_OUT:
                raise
        log.error(
            "%s: offsets pending for good: going on from the last certain ones; to end the hanging "
            "transaction on __consumer_offsets see Kafka's kafka-transactions.sh find-hanging",
            self.spec.name,
        )
        settings = self._consumer_settings(f"{self.cluster.prefix}linkstatus.{self.spec.name}")
        certain = Consumer({**settings, "isolation.level": "read_uncommitted"}, logger=log)
        try:
            return certain.committed(partitions, timeout=10)
        finally:
            certain.close()

    def _restore(self, partitions: list[int]) -> None:
        """Reads the table's partitions, if there is a table, from their beginning to their end."""
        if self.spec.table is None or self.spec.codec is None:
            return
        topic = self.cluster.topic(self.spec.table)
        for number in partitions:
            self.tables[number] = Partition(self.spec.codec)
        reader = Consumer(
            {
                **self.cluster.librdkafka(),
                "group.id": f"{self.cluster.prefix}linkstatus.{self.spec.name}.restore",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "enable.partition.eof": True,
                "fetch.queue.backoff.ms": 10,
                # The end is told by an empty fetch: do not let the broker hold it back.
                "fetch.wait.max.ms": 10,
            }
        )
        try:
            reader.assign([TopicPartition(topic, n, OFFSET_BEGINNING) for n in partitions])
            self._read_to_end(reader, set(partitions))
        finally:
            reader.close()

    def _read_to_end(self, reader: Consumer, unfinished: set[int]) -> None:
        quiet_since = time.monotonic()
        while unfinished:
            for message in reader.consume(10_000, 0.05):
                quiet_since = time.monotonic()
                number = message.partition()
                if number is None:
                    continue
                error = message.error()
                if error is None:
                    self._take_row(number, message)
                elif error.code() == KafkaError._PARTITION_EOF:
                    unfinished.discard(number)
                else:
                    raise KafkaException(error)
            if time.monotonic() - quiet_since > 30:
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "restoring a table"))

    def _take_row(self, number: int, message: Message) -> None:
        key = message.key()
        if isinstance(key, bytes):
            self.tables[number].restore(key, message.value())

    def _revoke(self, partitions: list[TopicPartition]) -> None:
        self._forget(partitions)
        self._consumer.incremental_unassign(partitions)

    def _lose(self, partitions: list[TopicPartition]) -> None:
        """The group went on without us: whoever has the partitions now may already have written."""
        self._forget(partitions)
        raise KafkaException(KafkaError(KafkaError.ILLEGAL_GENERATION, "partitions lost"))

    def _forget(self, partitions: list[TopicPartition]) -> None:
        for partition in partitions:
            self._next.pop((partition.topic, partition.partition), None)
            self.tables.pop(partition.partition, None)
        self._precedence.gone(partitions)
        self.on_assigned(frozenset(self._next))

    def take(self, wait: float) -> list[Message]:
        """The records at hand, at most a batch; waits for the first up to `wait` seconds."""
        messages = self._consumer.consume(1, wait)
        if messages and self.spec.batch_size > 1:
            messages += self._consumer.consume(self.spec.batch_size - 1, 0)
        if self._failed is not None:
            raise self._failed
        for message in messages:
            if message.error() is not None:
                raise KafkaException(message.error())
        if any((m.topic(), m.partition()) not in self._next for m in messages):
            # A rebalance between the two calls took partitions away: their records are not ours.
            messages = [m for m in messages if (m.topic(), m.partition()) in self._next]
        self._precedence.took(messages)
        return messages

    def commit(self, batch: Batch) -> None:
        """Outputs, table rows and offsets in one transaction. Raises if it is not known to have
        committed.
        """
        # Offsets are sent even if no record was taken: they are what fences off a worker that has
        # lost its partitions without knowing.
        offsets = _next_offsets(batch.messages) or _known(self._next)
        self._producer.begin_transaction()
        for output in batch.outputs:
            self._produce(
                self.cluster.topic(output.topic), output.key, output.value, output.headers
            )
        self._produce_rows()
        if offsets:
            group = self._consumer.consumer_group_metadata()
            self._producer.send_offsets_to_transaction(offsets, group, 15)
        self._producer.commit_transaction(15)
        self._next.update({(o.topic, o.partition): o.offset for o in offsets})
        for table in self.tables.values():
            table.commit()

    def _produce_rows(self) -> None:
        if self.spec.table is None:
            return
        topic = self.cluster.topic(self.spec.table)
        for number, table in self.tables.items():
            for key, value in table.changes():
                self._produce(topic, key, value, None, number)

    def _produce(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Any, partition: int = -1
    ) -> None:
        while True:
            try:
                self._producer.produce(topic, value, key, partition, headers=headers)
                return
            except BufferError:
                # The local queue is full: let deliveries happen, then go on.
                self._producer.poll(0.05)

    def close(self) -> None:
        """Leaves the group and aborts what is open. What was pending in memory never was."""
        for table in self.tables.values():
            table.abort()
        self.tables.clear()
        try:
            self._producer.abort_transaction(5)
        except (KafkaException, AttributeError) as error:
            # Nothing open, fenced, or the broker is away: the next session's fencing aborts it.
            log.debug("%s: no abort: %s", self.spec.name, error)
        consumer = getattr(self, "_consumer", None)
        if consumer is not None:
            consumer.close()


def _next_offsets(messages: list[Message]) -> list[TopicPartition]:
    """For every partition in the batch, the offset after its last record (they come in order)."""
    last = {(message.topic(), message.partition()): message.offset() for message in messages}
    return [
        TopicPartition(topic, partition, offset + 1)
        for (topic, partition), offset in last.items()
        if topic is not None and partition is not None and offset is not None
    ]


def _known(offsets: dict[tuple[str, int], int]) -> list[TopicPartition]:
    return [TopicPartition(t, p, offset) for (t, p), offset in offsets.items() if offset >= 0]
