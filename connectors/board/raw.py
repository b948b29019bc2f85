"""The raw records behind what is shown, read from Kafka where they stand, on demand."""

import json
import logging
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from threading import Lock
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from connectors.board.present import as_json, body_json, masked_headers
from connectors.kafka import Cluster
from schemas import codec

log = logging.getLogger(__name__)

_PATIENCE_SECONDS = 2.0
# Records never change: those seen last are kept, so that a live page does not ask again.
_KEPT = 256
_NOT_THERE = frozenset(
    {
        KafkaError.OFFSET_OUT_OF_RANGE,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._AUTO_OFFSET_RESET,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError._UNKNOWN_TOPIC,
    }
)


@dataclass(frozen=True, slots=True)
class RawRecord:
    """A record as received: its headers and its body, secrets masked. `missing` says why there is
    none.
    """

    headers: dict[str, str]
    body: dict[str, Any]
    missing: str = ""


_GONE = RawRecord({}, {}, "No longer on Kafka: raw records are kept for 35 days.")
_AWAY = RawRecord({}, {}, "Kafka does not answer now.")


class RawRecords:
    """Reads records by their origin, `topic/partition/offset`. Blocking; for several threads."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._kept: OrderedDict[str, RawRecord] = OrderedDict()
        self._lock = Lock()

    def read(self, origins: Iterable[str]) -> dict[str, RawRecord]:
        """Each origin's record."""
        with self._lock:
            wanted = list(dict.fromkeys(origins))
            if unknown := [origin for origin in wanted if origin not in self._kept]:
                self._fetch(unknown)
            found = {origin: self._kept.get(origin, _AWAY) for origin in wanted}
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
            return found

    def _fetch(self, origins: Iterable[str]) -> None:
        consumer = Consumer(
            {
                **self._cluster.librdkafka(),
                # Asked for by the client, joined by nobody: partitions are assigned by hand.
                "group.id": f"{self._cluster.prefix}linkstatus-raw",
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 10,
                "log_level": 0,
            }
        )
        try:
            for origin in origins:
                record = self._at(consumer, origin)
                if record is _AWAY:
                    return
                self._kept[origin] = record
        except KafkaException as error:
            log.info("raw records cannot be read: %s", error)
        finally:
            consumer.close()

    def _at(self, consumer: Consumer, origin: str) -> RawRecord:
        topic, partition, offset = _place(origin)
        place = TopicPartition(self._cluster.topic(topic), partition, offset)
        consumer.assign([place])
        message = consumer.poll(_PATIENCE_SECONDS)
        if message is None:
            return _AWAY
        if (error := message.error()) is not None:
            return _GONE if error.code() in _NOT_THERE else _AWAY
        return _shown(message) if message.offset() == offset else _GONE


def _place(origin: str) -> tuple[str, int, int]:
    topic, _, rest = origin.partition("/")
    partition, _, offset = rest.partition("/")
    return topic, int(partition), int(offset)


def _shown(message: Message) -> RawRecord:
    pairs: Any = message.headers() or []
    headers = masked_headers([[n, (v or b"").decode(errors="replace")] for n, v in pairs])
    value = message.value()
    try:
        one, record = codec.decode_any(value or b"")
    except codec.BadRecord:
        return RawRecord(headers, body_json(value))
    text = json.dumps(as_json(one, record), ensure_ascii=False, indent=2)
    return RawRecord(headers, {"size": len(value or b""), "text": text})
