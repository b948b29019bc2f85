"""Follows committed records as a downstream service would, through every outage of the broker."""

import threading
import time
from collections import defaultdict

from confluent_kafka import OFFSET_BEGINNING, TopicPartition

from connectors.kafka import topic_reader
from connectors.kafka.cluster import Cluster
from schemas import codec, topics
from schemas.records import LinkStatus
from tests.checker.history import Place
from tests.support.codecs import CODECS

# The stages normalize and track write them: a callback has its effect only when both work.
_WATCHED = (topics.LINK_EVENTS.name, topics.LINK_STATUS.name)


class Follower:
    """Reads committed records in a thread. `rows` has the newest row of each link, `arrivals` the
    times at which records of each partition came, in seconds since the epoch, `places` what it has
    read: topic, partition, offset.
    """

    def __init__(self, cluster: Cluster, partitions: int) -> None:
        self.rows: dict[tuple[str, str], LinkStatus] = {}
        self.arrivals: dict[tuple[str, int], list[float]] = defaultdict(list)
        self.places: list[Place] = []
        self._names = {cluster.topic(name): name for name in _WATCHED}
        self._stop = threading.Event()
        options = {"log_level": 0, "reconnect.backoff.max.ms": 500}
        self._consumer = topic_reader.reader(cluster, "chaos-follower", **options)
        self._consumer.assign(
            [
                TopicPartition(topic, number, OFFSET_BEGINNING)
                for topic in self._names
                for number in range(partitions)
            ]
        )
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        while not self._stop.is_set():
            messages = self._consumer.consume(500, 0.1)
            now = time.time()
            # The broker may be away: the client reconnects by itself.
            read = [message for message in messages if message.error() is None]
            places = {(self._names[m.topic() or ""], m.partition() or 0) for m in read}
            for place in places:
                self.arrivals[place].append(now)
            for message in read:
                topic, value = self._names[message.topic() or ""], message.value()
                self.places.append((topic, message.partition() or 0, message.offset() or 0))
                if topic == topics.LINK_STATUS.name and value is not None:
                    row = CODECS.decode(codec.LINK_STATUS, value)
                    self.rows[row["provider"], row["link_id"]] = row

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._consumer.close()
