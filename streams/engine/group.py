"""The consumer group of a stage: its members, its offsets, and what earlier owners left."""

import logging
from collections.abc import Collection

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)

from connectors.kafka import topic_reader
from connectors.kafka.cluster import Cluster
from connectors.kafka.group_members import group_members
from streams.engine.clients import TRANSACTION_TIMEOUT_MS, fence, new_producer

log = logging.getLogger(__name__)

# A transaction that has not ended after this time may be a killed worker's.
_PENDING_SECONDS = 0.1
# Every transaction but a hanging one has ended after this time.
_ENDED_SECONDS = 2 * TRANSACTION_TIMEOUT_MS / 1000
_FIRST_REQUEST_SECONDS = 0.01


class NameTaken(Exception):
    """Another worker has this worker's name, so each would end the sessions of the other."""


class Group:
    """`group` is without prefix. Call its methods where no event loop runs.

    Raises:
        KafkaException: from every method.
    """

    def __init__(self, cluster: Cluster, group: str) -> None:
        self._cluster = cluster
        self._group = group
        self.name = cluster.prefix + group

    def members(self) -> dict[str, str]:
        """Return the client id of each member by the member's id."""
        members = self._cluster.clients.members or group_members
        return members(self._cluster.aiokafka(), self.name)

    def check_name(self, instance: str, own_ids: Collection[str]) -> None:
        """Raise NameTaken if a member other than `own_ids` has the client id `instance`."""
        for member_id, client_id in self.members().items():
            if client_id == instance and member_id not in own_ids:
                raise NameTaken(
                    f"another worker has the name {instance}: give each worker its own "
                    "LINKSTATUS_INSTANCE, or its own data folder without it"
                )

    def start_offsets(
        self, consumer: Consumer, partitions: list[TopicPartition]
    ) -> list[TopicPartition]:
        """Return the committed offsets, or the beginning where nothing is committed. `consumer` is
        a member.
        """
        offsets = self._committed(consumer, partitions)
        for partition in offsets:
            if partition.error is not None:
                raise KafkaException(partition.error)
            if partition.offset < 0:
                partition.offset = OFFSET_BEGINNING
        return offsets

    def _committed(
        self, consumer: Consumer, partitions: list[TopicPartition]
    ) -> list[TopicPartition]:
        """Return the committed offsets, once no transaction is pending on them.

        A killed worker may leave a transaction, which Kafka itself ends after 10 to 20 seconds: it
        is aborted here. A killed broker can leave one that never ends ("hanging transaction"): then
        the broker never answers. After the time-out every other transaction has ended, so the last
        stable offsets are used instead. Records may then be consumed again. The rules are
        idempotent, so an event can at most repeat with its `event_id`.
        """
        offsets = _committed_within(_PENDING_SECONDS, consumer, partitions)
        if offsets is None:
            aborting = self._abort_dead_owners(partitions)
            offsets = _committed_within(_ENDED_SECONDS, consumer, partitions)
            del aborting
        if offsets is None:
            log.error(
                "%s: the committed offsets stay pending: starting at the last stable ones. To end "
                "the hanging transaction on __consumer_offsets, see find-hanging in Kafka's "
                "kafka-transactions.sh",
                self.name,
            )
            offsets = self._stable_offsets(partitions)
        return offsets

    def _abort_dead_owners(self, partitions: list[TopicPartition]) -> list[Producer]:
        """Abort the transactions of earlier owners of the partitions that are members no more.

        The transactional id is in the metadata of the owner's last commit. A member is not fenced:
        its transaction is ending. Keep the producers until the transactions have ended: their first
        request starts that, and librdkafka waits half a second before it asks for the end.
        """
        members = {f"{self.name}.{client_id}" for client_id in self.members().values()}
        notes = {partition.metadata or "" for partition in self._stable_offsets(partitions)}
        owners = {note for note in notes if note.startswith(f"{self.name}.")}
        dead = sorted(owners - members)
        if dead:
            log.warning("%s: aborting what dead workers may have left: %s", self.name, dead)
        aborting = [new_producer(self._cluster, owner) for owner in dead]
        for producer in aborting:
            try:
                fence(producer, _FIRST_REQUEST_SECONDS)
            except KafkaException as error:
                if not error.args[0].retriable():
                    raise
        return aborting

    def _stable_offsets(self, partitions: list[TopicPartition]) -> list[TopicPartition]:
        """Return the committed offsets without those that are pending."""
        ours = [TopicPartition(p.topic, p.partition) for p in partitions]
        return topic_reader.stable_offsets(self._cluster, self._group, ours)


def _committed_within(
    seconds: float, consumer: Consumer, partitions: list[TopicPartition]
) -> list[TopicPartition] | None:
    try:
        return consumer.committed(partitions, timeout=seconds)
    except KafkaException as error:
        if error.args[0].code() != KafkaError._TIMED_OUT:
            raise
        return None
