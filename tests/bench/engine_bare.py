"""The ceiling: a bare confluent-kafka transactional loop with plain dicts as state.

Do not use it: it has no restore, no rebalance and no recovery. It shows the limit that client,
broker and handlers set. Each stage has a thread: one thread for all was slower.
"""

import threading
from collections.abc import Callable
from typing import Any, cast

from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition

from connectors.kafka.cluster import Cluster
from streams.agents.stages import TABLES
from tests.bench.child import Child
from tests.bench.job import INPUTS, FakeBatch, Handler, handlers
from tests.support.codecs import CODECS

_BATCH = 2000
_CONSUMER = {
    "isolation.level": "read_committed",
    "enable.auto.commit": False,
    "auto.offset.reset": "earliest",
    "partition.assignment.strategy": "cooperative-sticky",
    "fetch.queue.backoff.ms": 10,
}
_PRODUCER = {
    "partitioner": "murmur2_random",
    "linger.ms": 5,
    "queue.buffering.max.messages": 1_000_000,
    "retry.backoff.ms": 1,
    "retry.backoff.max.ms": 100,
}


class Loop:
    """One stage: consume a batch, call the handler, produce, send offsets, commit."""

    def __init__(
        self, stage: str, cluster: Cluster, handle: Handler, took: Callable[[], None]
    ) -> None:
        self._stage, self._cluster, self._handle, self._took = stage, cluster, handle, took
        table = TABLES.get(stage)
        self._schema = table.schema if table else None
        self._table = cluster.topic(table.name) if table else ""
        self._rows: dict[int, dict[bytes, Any]] = {}
        name = f"{cluster.prefix}{stage}"
        self._producer = Producer({**cluster.librdkafka(), **_PRODUCER, "transactional.id": name})
        self._producer.init_transactions(30)
        self._consumer = Consumer({**cluster.librdkafka(), **_CONSUMER, "group.id": name})

        def on_assign(consumer: Consumer, partitions: list[TopicPartition]) -> None:
            for partition in partitions:
                self._rows.setdefault(partition.partition, {})
            consumer.incremental_assign(partitions)

        names = [cluster.topic(topic.name) for topic in INPUTS[stage]]
        self._consumer.subscribe(names, on_assign=on_assign)

    def run(self) -> None:
        """Handle batches without end."""
        while True:
            if messages := self._consumer.consume(1, 0.25):
                self._took()
                messages += self._consumer.consume(_BATCH - 1, 0)
                self._commit(messages, self._handled(messages))

    def _handled(self, messages: list[Message]) -> FakeBatch:
        batch = FakeBatch(self._stage, self._cluster.prefix, self._rows)
        for message in messages:
            if message.error():
                raise KafkaException(message.error())
            batch.handle(self._handle, message)
            for (number, key), row in batch.rows.items():
                self._rows[number][key] = row
        return batch

    def _commit(self, messages: list[Message], batch: FakeBatch) -> None:
        topic = self._cluster.topic
        producer = self._producer
        producer.begin_transaction()
        for output in batch.outputs:
            producer.produce(
                topic(output.topic), output.value, output.key, headers=cast("Any", output.headers)
            )
        for (number, key), row in batch.rows.items():
            if self._schema:
                producer.produce(self._table, CODECS.encode(self._schema, row), key, number)
        last: dict[Any, Any] = {(m.topic(), m.partition()): m.offset() for m in messages}
        offsets = [TopicPartition(name, number, last[name, number] + 1) for name, number in last]
        group = self._consumer.consumer_group_metadata()
        producer.send_offsets_to_transaction(offsets, group, 15)
        producer.commit_transaction(15)


def main() -> None:
    child = Child.here()
    for stage, handler in handlers().items():
        loop = Loop(stage, child.cluster, handler, child.record_taken)
        threading.Thread(target=loop.run).start()


if __name__ == "__main__":
    main()
