"""Follows `link-status` as a downstream service would, through every outage of the broker."""

import threading

from confluent_kafka import OFFSET_BEGINNING, TopicPartition

from connectors.kafka import topic_reader
from connectors.kafka.cluster import Cluster
from schemas import codec, topics
from schemas.records import LinkStatus
from tests.support.codecs import CODECS


class Follower:
    """Reads committed records in a thread. `rows` has the newest row of each link."""

    def __init__(self, cluster: Cluster, partitions: int) -> None:
        self.rows: dict[tuple[str, str], LinkStatus] = {}
        self._stop = threading.Event()
        topic = cluster.topic(topics.LINK_STATUS.name)
        options = {"log_level": 0, "reconnect.backoff.max.ms": 500}
        self._consumer = topic_reader.reader(cluster, "chaos-follower", **options)
        self._consumer.assign(
            [TopicPartition(topic, number, OFFSET_BEGINNING) for number in range(partitions)]
        )
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        while not self._stop.is_set():
            for message in self._consumer.consume(500, 0.2):
                # The broker may be away: the client reconnects by itself.
                if message.error() is None and message.value() is not None:
                    row = CODECS.decode(codec.LINK_STATUS, message.value())
                    self.rows[row["provider"], row["link_id"]] = row

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._consumer.close()
