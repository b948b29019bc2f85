"""The simulated `confluent_kafka.Producer`: idempotent, transactional with a transactional id."""

from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from connectors.kafka.partitioner import partition_of
from schemas.headers import Headers
from tests.simulation.cluster import SimulatedKafka
from tests.simulation.consumer import GroupMetadata
from tests.simulation.groups import Committed, Partition
from tests.simulation.log import Record
from tests.simulation.network import Refused, replying
from tests.simulation.scheduler import Process, Thread
from tests.simulation.transactions import GROUP, Target

_SOON = 0.0003
_BACKOFF_SECONDS = 0.005
_FENCING = (
    KafkaError.INVALID_PRODUCER_EPOCH,
    KafkaError.PRODUCER_FENCED,
    KafkaError.INVALID_TXN_STATE,
)
Delivered = Callable[[KafkaError | None, Any], None]


@dataclass(slots=True)
class _Batch:
    place: Partition
    records: list[Record]
    delivered: list[Delivered]
    sequence: int = -1


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
        self._queued: dict[Partition, list[tuple[Record, Delivered | None]]] = {}
        self._added: set[Target] = set()
        self._sequences: dict[Partition, int] = {}
        # Batches whose acknowledgement has not come, and callbacks to make.
        self._unacked = 0
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
        batches = [
            _Batch(
                place,
                [record for record, _ in records],
                [call for _, call in records if call is not None],
            )
            for place, records in queued.items()
        ]
        self._unacked += len(batches)
        new = [place for place in queued if place not in self._added]
        if self._name is None or not new:
            for batch in batches:
                self._send(batch)
        elif batches:
            self._added.update(new)
            self._add(new, batches, self._number)

    def _add(self, places: list[Partition], batches: list[_Batch], number: int) -> None:
        """Add the partitions to the transaction, then send the batches."""
        name = self._name
        assert name is not None

        def handle() -> None:
            self._kafka.transactions.add(name, self._producer, self._epoch, places)

        def receive(answer: Refused | None) -> None:
            if number != self._number or not self._is_open:
                self._forget(len(batches))
            elif answer is None:
                for batch in batches:
                    self._send(batch)
            elif answer.code == KafkaError.CONCURRENT_TRANSACTIONS:
                self._process.later(_BACKOFF_SECONDS, lambda: self._add(places, batches, number))
            else:
                self._fail(answer.code)
                self._forget(len(batches))

        self._network.send(self._process, "AddPartitionsToTxn", replying(handle), receive)

    def _send(self, batch: _Batch) -> None:
        producer, epoch, number = self._producer, self._epoch, self._number
        if batch.sequence < 0:
            batch.sequence = self._sequences.get(batch.place, 0)
            self._sequences[batch.place] = batch.sequence + len(batch.records)

        def handle() -> None:
            self._kafka.append(
                self._name, batch.place, producer, epoch, batch.sequence, batch.records
            )

        def receive(answer: Refused | None) -> None:
            if answer is not None and answer.code == KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER:
                self._process.later(_BACKOFF_SECONDS, lambda: self._send(batch))
                return
            if answer is not None and number == self._number:
                self._fail(answer.code)
            error = None if answer is None else KafkaError(answer.code)
            self._due.extend(lambda call=call: call(error, None) for call in batch.delivered)  # type: ignore[misc]
            self._forget(1)
            if self._name is None:
                # Its process polls in the background.
                self._process.later(0, self._make_calls)

        self._network.send(self._process, f"Produce {batch.place[0]}", replying(handle), receive)

    def _forget(self, batches: int) -> None:
        self._unacked -= batches
        if self._waiting is not None:
            self._waiting.wake()

    def _fail(self, code: int) -> None:
        if self._error is None:
            fenced = code in _FENCING
            self._error = KafkaError(
                KafkaError._FENCED if fenced else code, fatal=fenced, txn_requires_abort=not fenced
            )

    def send_offsets_to_transaction(
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
        """Send a request of the transaction. Its error ends the transaction."""
        seconds = max(0.0, deadline - self._process.scheduler.now)
        try:
            self._network.call(
                *(self._process, kind, handle, seconds),
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
        # Answers that still come belong to no transaction.
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

    def _await_acks(self, deadline: float) -> None:
        self._waiting = self._process.thread
        while (self._queued or self._unacked) and self._error is None:
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
            return self._unacked + len(self._queued)
        self.poll()
        return 0


class DirectProducer:
    """A producer outside of time: each record is on the cluster at once."""

    def __init__(self, kafka: SimulatedKafka, settings: Mapping[str, Any], **_: Any) -> None:
        self._kafka = kafka
        self._producer = kafka.transactions.new_producer()
        self._sequences: Counter[Partition] = Counter()

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
        if partition < 0:
            partition = partition_of(key or b"", len(self._kafka.topics[topic]))
        place = topic, partition
        record = Record(key, value, list(headers or []), timestamp or self._kafka.now_ms())
        self._kafka.append(None, place, self._producer, 0, self._sequences[place], [record])
        self._sequences[place] += 1

    def poll(self, timeout: float = 0) -> int:
        return 0

    def flush(self, timeout: float = 0) -> int:
        return 0
