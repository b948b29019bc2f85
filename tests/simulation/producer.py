"""The simulated `confluent_kafka.Producer`: idempotent, transactional with a transactional id."""

from collections import deque
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from connectors.kafka.partitioner import partition_of
from connectors.kafka.transactional_producer import CoordinatorStuck
from schemas.headers import Headers
from tests.simulation.cluster import SimulatedKafka
from tests.simulation.consumer import GroupMetadata
from tests.simulation.groups import Committed, Partition
from tests.simulation.log import Record, batch_bytes
from tests.simulation.network import Refused, replying
from tests.simulation.outbox import Batch, Delivered, Outbox, Queued, batches
from tests.simulation.scheduler import Process, Thread
from tests.simulation.transactions import GROUP, Target

_SOON = 0.0003
_BACKOFF_SECONDS = 0.005
_FENCING = (
    KafkaError.INVALID_PRODUCER_EPOCH,
    KafkaError.PRODUCER_FENCED,
    KafkaError.INVALID_TXN_STATE,
)
# Refused for now: a batch before it is missing, or the partition has no leader yet.
_RETRIED = (KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, KafkaError.NOT_LEADER_FOR_PARTITION)


class SimulatedProducer:
    """A producer of a process; it sends in the background, as librdkafka does with linger 0."""

    def __init__(
        self, process: Process, kafka: SimulatedKafka, settings: Mapping[str, Any], **_: Any
    ) -> None:
        self._process, self._kafka, self._network = process, kafka, kafka.network
        self._name: str | None = settings.get("transactional.id")
        self._timeout = settings.get("transaction.timeout.ms", 60_000) / 1000
        self._producer, self._epoch = -1, -1
        if self._name is None:
            self._producer, self._epoch = kafka.transactions.new_producer(), 0
        self._is_open = False
        self._error: KafkaError | None = None
        self._largest = settings.get("message.max.bytes", 1_000_000)
        self._records_in_batch = settings.get("batch.num.messages", 10_000)
        self._queued: dict[Partition, list[Queued]] = {}
        self._added: set[Target] = set()
        self._sequences: dict[Partition, int] = {}
        self._outbox = Outbox(settings.get("max.in.flight.requests.per.connection", 5), self._send)
        # Batches whose partition is being added to the transaction, and callbacks to make.
        self._unadded = 0
        self._due: deque[Callable[[], None]] = deque()
        self._waiting: Thread | None = None
        # Counts transactions: an answer to an earlier one has no effect.
        self._number = 0

    def list_topics(self, topic: str | None = None, timeout: float = -1) -> Any:
        return self._network.call(
            self._process, "Metadata", lambda: SimpleNamespace(topics={}), timeout
        )

    def init_transactions(self, timeout: float) -> None:
        assert self._name is not None
        name = self._name
        self._producer, self._epoch = self._network.call(
            self._process,
            "InitProducerId",
            lambda: self._kafka.transactions.init(name, self._timeout),
            timeout,
            wait_for=[KafkaError.CONCURRENT_TRANSACTIONS],
            retriable=True,
        )

    def begin_transaction(self) -> None:
        self._check()
        self._is_open = True
        self._number += 1
        self._added.clear()

    def produce(
        self,
        topic: str,
        value: bytes | None = None,
        key: bytes | None = None,
        partition: int = -1,
        on_delivery: Delivered | None = None,
        timestamp: int = 0,
        headers: Headers | None = None,
    ) -> None:
        self._check()
        logs = self._kafka.topics.get(topic)
        if logs is None:
            raise KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART))
        if partition < 0:
            partition = partition_of(key, len(logs)) if key else self._any(len(logs))
        record = Record(key, value, list(headers or []), timestamp or self._kafka.now_ms())
        if batch_bytes([record]) > self._largest:
            raise KafkaException(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE))
        if not self._queued:
            self._process.later(_SOON, self._send_queued)
        self._queued.setdefault((topic, partition), []).append((record, on_delivery))

    def _any(self, partitions: int) -> int:
        return self._kafka.random.randrange(partitions)

    def _check(self) -> None:
        self._process.check_alive()
        if self._error is not None:
            raise KafkaException(self._error)

    def _send_queued(self) -> None:
        queued, self._queued = self._queued, {}
        random = self._kafka.random
        new = [
            batch
            for place, each in queued.items()
            for batch in batches(place, each, self._records_in_batch, random)
        ]
        places = [place for place in queued if place not in self._added]
        if self._name is None or not places:
            self._outbox.add(new)
        elif new:
            self._added.update(places)
            self._unadded += len(new)
            self._add(places, new, self._number)

    def _add(self, places: list[Partition], new: list[Batch], number: int) -> None:
        """Add the partitions to the transaction, then send the batches."""
        name = self._name
        assert name is not None

        def handle() -> None:
            self._kafka.transactions.add(name, self._producer, self._epoch, places)

        def receive(answer: Refused | None) -> None:
            if number != self._number:
                return
            if answer is not None and answer.code == KafkaError.CONCURRENT_TRANSACTIONS:
                self._process.later(_BACKOFF_SECONDS, lambda: self._add(places, new, number))
                return
            self._unadded -= len(new)
            if answer is None:
                self._outbox.add(new)
            else:
                self._fail(answer.code)

        self._network.send(self._process, "AddPartitionsToTxn", replying(handle), receive)

    def _send(self, batch: Batch) -> None:
        producer, epoch = self._producer, self._epoch
        if batch.sequence < 0:
            batch.sequence = self._sequences.get(batch.place, 0)
            self._sequences[batch.place] = batch.sequence + len(batch.records)

        def handle() -> None:
            self._kafka.append(
                self._name, batch.place, producer, epoch, batch.sequence, batch.records
            )

        def receive(answer: Refused | None) -> None:
            if not self._outbox.is_under_way(batch):
                # The transaction has ended without it.
                return
            if answer is not None and answer.code in _RETRIED:
                self._outbox.hold(batch)
                self._process.later(_BACKOFF_SECONDS, lambda: self._outbox.release(batch))
                return
            if answer is not None:
                self._fail(answer.code)
            self._outbox.done(batch)
            error = None if answer is None else KafkaError(answer.code)
            self._due.extend(lambda call=call: call(error, None) for call in batch.delivered)  # type: ignore[misc]
            self._wake()
            if self._name is None:
                # Its process polls in the background.
                self._process.later(0, self._make_calls)

        kind = f"Produce {batch.place[0]}"
        self._network.send(self._process, kind, replying(handle), receive, connection=self)

    def _wake(self) -> None:
        if self._waiting is not None:
            self._waiting.wake()

    def _fail(self, code: int) -> None:
        if self._error is None:
            fenced = code in _FENCING
            self._error = KafkaError(
                KafkaError._FENCED if fenced else code, fatal=fenced, txn_requires_abort=not fenced
            )
            self._wake()

    def send_offsets_to_transaction(
        self, offsets: list[TopicPartition], metadata: GroupMetadata | None, timeout: float
    ) -> None:
        try:
            self._send_offsets(offsets, metadata, timeout)
        except KafkaException as error:
            if error.args[0].code() != KafkaError._TIMED_OUT:
                raise
            raise CoordinatorStuck(error.args[0]) from None

    def _send_offsets(
        self, offsets: list[TopicPartition], metadata: GroupMetadata | None, timeout: float
    ) -> None:
        self._check()
        assert self._name is not None
        assert metadata is not None
        name, target = self._name, (GROUP, metadata.group)
        producer, epoch = self._producer, self._epoch
        group = self._kafka.group(metadata.group)
        values = {(o.topic, o.partition): Committed(o.offset, o.metadata) for o in offsets}
        deadline = self._process.scheduler.now + timeout
        if target not in self._added:
            self._ask(
                "AddOffsetsToTxn",
                lambda: self._kafka.transactions.add(name, producer, epoch, [target]),
                deadline,
            )
            self._added.add(target)

        def commit() -> None:
            self._kafka.transactions.verify(name, producer, epoch, target)
            group.commit_pending(producer, epoch, metadata.member_id, metadata.generation, values)

        self._ask("TxnOffsetCommit", commit, deadline)

    def _ask(self, kind: str, handle: Callable[[], None], deadline: float) -> None:
        """Send a request of the transaction. Its error ends the transaction. A copy that arrives
        in a later transaction has no effect: see docs/simulation.md.
        """
        seconds = max(0.0, deadline - self._process.scheduler.now)
        number = self._number

        def handle_in_time() -> None:
            if number != self._number:
                raise Refused(KafkaError.INVALID_TXN_STATE)
            handle()

        try:
            self._network.call(
                *(self._process, kind, handle_in_time, seconds),
                wait_for=[KafkaError.CONCURRENT_TRANSACTIONS],
                retriable=True,
            )
        except KafkaException as error:
            if error.args[0].code() == KafkaError._TIMED_OUT:
                raise
            self._fail(error.args[0].code())
            raise KafkaException(self._error) from None

    def commit_transaction(self, timeout: float) -> None:
        self._check()
        deadline = self._process.scheduler.now + timeout
        self._await_acks(deadline)
        self._check()
        self._end(True, deadline)

    def abort_transaction(self, timeout: float) -> None:
        self._process.check_alive()
        if self._error is not None and self._error.fatal():
            raise KafkaException(self._error)
        if not self._is_open:
            raise KafkaException(KafkaError(KafkaError._STATE, "no transaction is open"))
        self._queued.clear()
        self._outbox.clear()
        # Answers that still come belong to no transaction.
        self._unadded = 0
        self._number += 1
        self._end(False, self._process.scheduler.now + timeout)
        self._error = None

    def _end(self, commit: bool, deadline: float) -> None:
        name, producer, epoch = self._name, self._producer, self._epoch
        assert name is not None
        if self._added:
            self._ask(
                "EndTxn",
                lambda: self._kafka.transactions.end(name, producer, epoch, commit),
                deadline,
            )
        self._is_open = False

    @property
    def _unacked(self) -> int:
        return len(self._queued) + self._unadded + len(self._outbox)

    def _await_acks(self, deadline: float) -> None:
        self._waiting = self._process.thread
        while self._unacked and self._error is None:
            left = deadline - self._process.scheduler.now
            if left <= 0:
                raise KafkaException(
                    KafkaError(KafkaError._TIMED_OUT, "records not acknowledged", retriable=True)
                )
            self._waiting.wait(left)
        self._waiting = None

    def poll(self, timeout: float = 0) -> int:
        self._make_calls()
        return 0

    def _make_calls(self) -> None:
        while self._due:
            self._due.popleft()()

    def flush(self, timeout: float = 0) -> int:
        """Return how many batches are not acknowledged in time."""
        try:
            self._await_acks(self._process.scheduler.now + timeout)
        except KafkaException:
            return self._unacked
        self.poll()
        return 0
