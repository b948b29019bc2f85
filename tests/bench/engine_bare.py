"""The ceiling: a bare confluent-kafka transactional loop with plain dicts as state.

No restore, no rebalance, no recovery: nobody should run this. It shows what client, broker and
handlers leave to gain. A thread a stage; `--in-turn` takes them all in one thread, which was
slower."""

import sys
import threading
from collections.abc import Callable
from typing import Any, cast

from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition

from connectors.kafka import Cluster
from tests.bench.child import Told
from tests.bench.job import INPUTS, TABLES, Hand, Handler, handlers

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
        self._codec = table.codec if table else None
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

    def turn(self, wait: float) -> int:
        """One batch, if there are records; how many there were."""
        messages = self._consumer.consume(1, wait)
        if messages:
            self._took()
            messages += self._consumer.consume(_BATCH - 1, 0)
            self._commit(messages, self._handled(messages))
        return len(messages)

    def _handled(self, messages: list[Message]) -> Hand:
        hand = Hand(self._stage, self._cluster.prefix, self._rows)
        for message in messages:
            if message.error():
                raise KafkaException(message.error())
            hand.do(self._handle, message)
            for (number, key), row in hand.rows.items():
                self._rows[number][key] = row
        return hand

    def _commit(self, messages: list[Message], hand: Hand) -> None:
        topic = self._cluster.topic
        producer = self._producer
        producer.begin_transaction()
        for output in hand.outputs:
            producer.produce(
                topic(output.topic), output.value, output.key, headers=cast("Any", output.headers)
            )
        for (number, key), row in hand.rows.items():
            if self._codec:
                producer.produce(self._table, self._codec.encode(row), key, number)
        last: dict[Any, Any] = {(m.topic(), m.partition()): m.offset() for m in messages}
        offsets = [TopicPartition(name, number, last[name, number] + 1) for name, number in last]
        group = self._consumer.consumer_group_metadata()
        producer.send_offsets_to_transaction(offsets, group, 15)
        producer.commit_transaction(15)


def main() -> None:
    told = Told.here()
    loops = [Loop(stage, told.cluster, handle, told.took) for stage, handle in handlers().items()]
    if "--in-turn" not in sys.argv:
        threads = [threading.Thread(target=_forever, args=([loop], 0.25)) for loop in loops]
        for thread in threads:
            thread.start()
    else:
        _forever(loops, 0.001)


def _forever(loops: list[Loop], wait: float) -> None:
    while True:
        for loop in loops:
            loop.turn(wait)


if __name__ == "__main__":
    main()
