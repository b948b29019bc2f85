"""Faults put into the engine, one at a time, for the simulation to find.

Some are real ones of this project's history. Each patches the real code, like a wrong change of it.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from typing import Any
from unittest import mock

from confluent_kafka import KafkaException, Message, TopicPartition

from connectors.kafka import sync_producer
from connectors.kafka.cluster import Cluster
from connectors.kafka.sync_producer import produce, settings
from connectors.kafka.transactional_producer import CoordinatorStuck
from connectors.triage import fitting
from schemas.codec import SchemaAway
from schemas.headers import Headers
from streams.agents import polling
from streams.engine import clients, group, restore, session
from streams.engine.batch import Batch
from streams.engine.group import Group
from streams.engine.session import Session
from streams.engine.stage import Stage
from tests.simulation.consumer import GroupMetadata, SimulatedConsumer
from tests.simulation.service_mutations import SERVICE_MUTATIONS

Patch = Any


def _go_on_after_a_failed_batch() -> list[Patch]:
    """The next batch commits offsets past the records of the failed one."""

    def run_batch(self: Stage, session: Session, messages: list[Message], tick: Any = None) -> None:
        try:
            real(self, session, messages, tick)
        except SchemaAway:
            return

    real = Stage._run_batch
    return [mock.patch.object(Stage, "_run_batch", run_batch)]


def _write_rows_outside_the_transaction() -> list[Patch]:
    """A row is visible before its commit, and after an abort."""

    def produce_rows(self: Session) -> None:
        producer = self.cluster.clients.producer(settings(self.cluster))
        for name, table in self.spec.tables.items():
            topic = self.cluster.topic(table.topic)
            for number, rows in self.tables[name].items():
                for key, value in rows.changes().items():
                    produce(producer, topic, value, key, partition=number)
        producer.flush(10)

    return [mock.patch.object(Session, "_produce_rows", produce_rows)]


def _do_not_wait_for_pending_offsets() -> list[Patch]:
    """A restore begins before the transaction of the predecessor has ended."""

    def committed(self: Group, consumer: Any, partitions: list[TopicPartition]) -> Any:
        return self._stable_offsets(partitions)

    return [mock.patch.object(Group, "_committed", committed)]


def _restore_to_the_last_stable_offset() -> list[Patch]:
    """The rows of a transaction whose offsets have committed are not waited for (KAFKA-10167)."""
    return [mock.patch.object(restore, "_end", return_value=0)]


def _use_the_rows_before_an_open_transaction() -> list[Patch]:
    """After a time, a restore goes on without them (as until 2026-11-30)."""

    def read_to_end(reader: Any, tables: Any, monotonic: Any) -> None:
        try:
            real(reader, tables, monotonic)
        except KafkaException as error:
            if "stays open" not in str(error):
                raise

    real = restore._read_to_end
    return [mock.patch.object(restore, "_read_to_end", read_to_end)]


def _send_offsets_without_the_generation() -> list[Patch]:
    """A zombie is not fenced by the group."""

    def metadata(self: SimulatedConsumer) -> GroupMetadata:
        return GroupMetadata(self._settings["group.id"], "", -1)

    return [mock.patch.object(SimulatedConsumer, "consumer_group_metadata", metadata)]


def _keep_records_of_a_revoked_partition() -> list[Patch]:
    """A rebalance between two calls of `consume` falls into the middle of a batch."""

    def consume(self: Session, seconds: float) -> list[Message]:
        messages = self._consumer.consume(1, seconds)
        if messages:
            messages = [*messages, *self._consumer.consume(self.spec.batch_size - 1, 0)]
        if self._callback_error is not None:
            raise self._callback_error
        self._priority.on_consume(messages)
        return messages

    return [mock.patch.object(Session, "consume", consume)]


def _keep_tables_whose_offsets_moved() -> list[Patch]:
    """A partition that another worker had in between keeps its table."""
    real = Session._restore

    def restore_(self: Session, numbers: set[int], offsets: Mapping[tuple[str, int], int]) -> Any:
        self._next = dict(offsets)
        return real(self, numbers, dict(offsets))

    return [mock.patch.object(Session, "_restore", restore_)]


def _restore_before_the_offsets() -> list[Patch]:
    """The tables are read while the last owner still commits; only then come its offsets."""
    real = Session._restore

    def assign(self: Session, partitions: list[TopicPartition]) -> None:
        numbers = {partition.partition for partition in partitions}
        early = {(p.topic, p.partition): -1 for p in partitions}
        real(self, numbers, early)
        real_assign(self, partitions)

    def restore_(self: Session, numbers: set[int], offsets: Mapping[tuple[str, int], int]) -> Any:
        self._next = dict(offsets)
        return numbers

    real_assign = Session._assign
    return [
        mock.patch.object(Session, "_assign", assign),
        mock.patch.object(Session, "_restore", restore_),
    ]


def _new_transactional_id_for_each_session() -> list[Patch]:
    """What a session left open is not aborted by the next one, nor is the session fenced."""
    real, number = clients.transactional_producer, count()

    def producer(cluster: Any, name: str) -> Any:
        return real(cluster, f"{name}#{next(number)}")

    return [mock.patch.object(session, "transactional_producer", producer)]


def _send_again_with_another_transactional_id() -> list[Patch]:
    """The producer of a stuck transaction is not fenced, and the transaction stays open."""

    def send(self: Session, batch: Batch, offsets: list[TopicPartition]) -> None:
        try:
            real(self, batch, offsets)
        except CoordinatorStuck:
            self._producer = clients.transactional_producer(self.cluster, f"{self._id}#2")
            real(self, batch, offsets)

    real = Session._send
    return [mock.patch.object(Session, "_send", send)]


def _wait_for_ever_for_pending_offsets() -> list[Patch]:
    """A group stands still for good behind a hanging transaction."""
    return [mock.patch.object(group, "_ENDED_SECONDS", 1e6)]


def _stay_joined_after_the_end() -> list[Patch]:
    """A stage counts as joined because its own tear-down says so."""

    def on_assigned(self: Stage, partitions: Any) -> None:
        self.partitions = partitions or frozenset()
        self.joined = True

    return [mock.patch.object(Stage, "_on_assigned", on_assigned)]


def _do_not_schedule_the_first_rows() -> list[Patch]:
    """A link of the first batch of a partition is never polled."""

    class Schedule(polling._Schedule):
        def __init__(self, table: Any) -> None:
            super().__init__(table)
            self.restored = []

    return [mock.patch.object(polling, "_Schedule", Schedule)]


def _do_not_count_a_dead_letter() -> list[Patch]:
    """A record that no rule understands vanishes."""

    def dead_letter(self: Batch, message: Message, step: str, error: Exception) -> None:
        return None

    return [mock.patch.object(Batch, "dead_letter", dead_letter)]


def _wait_for_the_thread_at_the_end() -> list[Patch]:
    """A worker that must end waits for an absent broker."""

    def await_end(self: Stage) -> None:
        self._thread.join()

    return [mock.patch.object(Stage, "await_end", await_end)]


def _do_not_cut_a_dead_letter() -> list[Patch]:
    """A dead letter is larger than its topic takes. Its batch fails for ever."""

    def dead_letter(
        key: bytes | None, value: bytes | None, headers: Headers, *about: str
    ) -> fitting.Written:
        names = zip(("stage", "reason", "origin"), about, strict=True)
        own = [(name, text.encode()) for name, text in names]
        return fitting.Written(key, value, [*headers, *own])

    return [
        mock.patch.object(fitting, "dead_letter", dead_letter),
        mock.patch.object(Batch, "_check_size", return_value=None),
    ]


def _send_several_requests_at_once() -> list[Patch]:
    """A new partition refuses the first one and takes the second one (KAFKA-15591)."""
    real = clients.new_producer

    def new_producer(cluster: Cluster, transactional_id: str) -> Any:
        with mock.patch.object(sync_producer, "settings", several):
            return real(cluster, transactional_id)

    def several(cluster: Cluster) -> dict[str, Any]:
        return {**settings(cluster), "max.in.flight.requests.per.connection": 5}

    return [mock.patch.object(clients, "new_producer", new_producer)]


def _rebalance_in_the_middle_of_a_batch() -> list[Patch]:
    """The batch is aborted. (`cooperative-sticky` and a longer batch did that.)"""
    real = Session.commit

    def commit(self: Session, batch: Batch) -> None:
        self._consumer.consume(1, 0.01)
        real(self, batch)

    return [mock.patch.object(Session, "commit", commit)]


MUTATIONS: Mapping[str, Callable[[], list[Patch]]] = {
    make.__name__.strip("_").replace("_", "-"): make
    for make in (
        _go_on_after_a_failed_batch,
        _write_rows_outside_the_transaction,
        _do_not_wait_for_pending_offsets,
        _restore_to_the_last_stable_offset,
        _use_the_rows_before_an_open_transaction,
        _send_offsets_without_the_generation,
        _keep_records_of_a_revoked_partition,
        _keep_tables_whose_offsets_moved,
        _restore_before_the_offsets,
        _new_transactional_id_for_each_session,
        _send_again_with_another_transactional_id,
        _wait_for_ever_for_pending_offsets,
        _stay_joined_after_the_end,
        _do_not_schedule_the_first_rows,
        _do_not_count_a_dead_letter,
        _wait_for_the_thread_at_the_end,
        _do_not_cut_a_dead_letter,
        _send_several_requests_at_once,
        _rebalance_in_the_middle_of_a_batch,
        *SERVICE_MUTATIONS,
    )
}


@contextmanager
def mutated(name: str | None) -> Iterator[None]:
    """Run the block with a mutation of this name, or with the code as it is."""
    patches = MUTATIONS[name]() if name else []
    for patch in patches:
        patch.start()
    try:
        yield
    finally:
        for patch in patches:
            patch.stop()
