"""Follows `link-status` as a downstream service would, through whatever happens to the broker."""

import threading
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from connectors.kafka import Cluster
from schemas import codec, topics
from schemas.records import LinkStatus


class Follower:
    """The newest row of every link seen so far; read committed."""

    def __init__(self, cluster: Cluster, partitions: int) -> None:
        self.rows: dict[tuple[str, str], LinkStatus] = {}
        self._ending = threading.Event()
        topic = cluster.topic(topics.LINK_STATUS.name)
        settings: dict[str, Any] = {
            **cluster.librdkafka(),
            "group.id": "chaos-follower",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "log_level": 0,
            "reconnect.backoff.max.ms": 500,
        }
        self._consumer = Consumer(settings)
        self._consumer.assign(
            [TopicPartition(topic, number, OFFSET_BEGINNING) for number in range(partitions)]
        )
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        while not self._ending.is_set():
            for message in self._consumer.consume(500, 0.2):
                # Errors are of the broker's absence: the client reconnects by itself.
                if message.error() is None and message.value() is not None:
                    row = codec.LINK_STATUS.decode(message.value())
                    self.rows[row["provider"], row["link_id"]] = row

    def close(self) -> None:
        self._ending.set()
        self._thread.join()
        self._consumer.close()
