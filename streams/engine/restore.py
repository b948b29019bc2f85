"""Reads table partitions from their compacted topics."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from connectors.kafka import topic_reader
from connectors.kafka.cluster import Cluster
from streams.engine.clients import TRANSACTION_TIMEOUT_MS
from streams.engine.table import TablePartition

_QUIET_SECONDS = 30
_BATCH = 10_000
# Every transaction but one that hangs in the cluster has ended after this time.
_OPEN_SECONDS = 2 * TRANSACTION_TIMEOUT_MS / 1000


class TableReader:
    """Reads the tables of a stage whenever its partitions change. `topics` are those of the tables.

    Its connections are open before the first partition comes: opening them then would make the
    partition stand still for up to half a second longer.

    Raises:
        KafkaException: from every method.
    """

    def __init__(self, cluster: Cluster, group: str, topics: Iterable[str]) -> None:
        self._cluster = cluster
        self._reader = topic_reader.reader(
            cluster,
            f"{group}.restore",
            **{
                "fetch.queue.backoff.ms": 10,
                # An empty fetch marks the end of a partition: the broker must not hold it back.
                "fetch.wait.max.ms": 10,
            },
        )
        found = topic_reader.existing(self._reader, map(cluster.topic, topics))
        leaders = {
            partition.leader: (name, number)
            for name, topic in found.items()
            for number, partition in topic.partitions.items()
        }
        for partition in leaders.values():
            # A leader that does not answer now is connected when it is needed.
            with suppress(KafkaException):
                self.offsets(*partition, seconds=1.0)

    def offsets(self, topic: str, number: int, seconds: float = 10.0) -> tuple[int, int]:
        """Return the first and the end offset of a partition. `topic` is with the prefix."""
        partition = TopicPartition(topic, number)
        low, high = self._reader.get_watermark_offsets(partition, timeout=seconds)
        return low, high

    def restore(self, tables: Mapping[str, Mapping[int, TablePartition[Any]]]) -> None:
        """Read the partitions of the tables' topics, by name and number, up to their present ends.
        No prefixes. Also raises KafkaException when the broker sends nothing for 30 seconds, or a
        transaction stays open.
        """
        partitions = {
            (self._cluster.topic(topic), number): table
            for topic, numbers in tables.items()
            for number, table in numbers.items()
        }
        self._reader.assign([TopicPartition(*p, OFFSET_BEGINNING) for p in partitions])
        _read_to_end(self._reader, partitions, self._cluster.clients.monotonic)
        self._reader.unassign()

    def close(self) -> None:
        self._reader.close()


def _end(reader: Consumer, partition: tuple[str, int]) -> int:
    """Return the end offset of the last fetch, with the records of open transactions.

    The last transaction of the previous owner ends on each broker by itself: its offsets may be
    visible before its rows are (KAFKA-10167).
    """
    return int(reader.get_watermark_offsets(TopicPartition(*partition), cached=True)[1])


def _read_to_end(
    reader: Consumer,
    tables: Mapping[tuple[str, int], TablePartition[Any]],
    monotonic: Callable[[], float],
) -> None:
    """Read every partition to its end. Rows before an open transaction are never used: it may yet
    commit, and its offsets may have. The tables would lose its changes.
    """
    # Of the unread partitions, those where only an open transaction is left.
    unread, held_back = set(tables), set[tuple[str, int]]()
    last_message_at = monotonic()
    while unread:
        # The call for many would wait for as many.
        for message in reader.consume(1, 0.05) + reader.consume(_BATCH, 0):
            last_message_at = monotonic()
            partition = message.topic() or "", message.partition() or 0
            key, error = message.key(), message.error()
            if error is None:
                if isinstance(key, bytes):
                    tables[partition].restore(key, message.value())
            elif error.code() != KafkaError._PARTITION_EOF:
                raise KafkaException(error)
            elif (message.offset() or 0) >= _end(reader, partition):
                unread.discard(partition)
            else:
                held_back.add(partition)
        silent = monotonic() - last_message_at
        if silent > _OPEN_SECONDS and unread <= held_back:
            raise _timed_out(
                f"a transaction on the tables' partitions {sorted(unread)} stays open: waiting for "
                "its end; if that does not come, docs/operating.md has the remedy"
            )
        if silent > _QUIET_SECONDS:
            raise _timed_out("restoring a table")


def _timed_out(text: str) -> KafkaException:
    return KafkaException(KafkaError(KafkaError._TIMED_OUT, text))
