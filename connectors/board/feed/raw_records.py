"""Raw records behind a page, read on demand from their place on Kafka."""

import json
import logging
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from threading import Lock
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from connectors.kafka.cluster import Cluster
from connectors.masking import body_json, masked_headers
from connectors.providers import content
from connectors.serialize import as_json
from connectors.triage.dead_letter import BadPlace, parse_place
from schemas.codec import BadRecord, Codecs, SchemaAway
from schemas.headers import headers_of

log = logging.getLogger(__name__)

_POLL_SECONDS = 2.0
# Records never change. The last ones stay in memory, so that a live page does not read them again.
_CACHED = 256
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
    """A record as received: headers and body, secrets masked. `missing` says why there is none."""

    headers: dict[str, str]
    body: dict[str, Any]
    missing: str = ""


_DELETED = RawRecord({}, {}, "No longer on Kafka: raw records are kept for 35 days.")
_UNAVAILABLE = RawRecord({}, {}, "Kafka does not answer now.")


class RawRecords:
    """Reads records by their origin, `topic/partition/offset`. Blocking; safe to use from several
    threads.
    """

    def __init__(self, cluster: Cluster, codecs: Codecs) -> None:
        self._cluster = cluster
        self._codecs = codecs
        self._cache: OrderedDict[str, RawRecord] = OrderedDict()
        self._lock = Lock()

    def read(self, origins: Iterable[str]) -> dict[str, RawRecord]:
        """Return the record of each origin."""
        with self._lock:
            unique = list(dict.fromkeys(origins))
            if unknown := [origin for origin in unique if origin not in self._cache]:
                self._fetch(unknown)
            records = {origin: self._cache.get(origin, _UNAVAILABLE) for origin in unique}
            while len(self._cache) > _CACHED:
                self._cache.popitem(last=False)
            return records

    def _fetch(self, origins: Iterable[str]) -> None:
        consumer = Consumer(
            {
                **self._cluster.librdkafka(),
                # The client requires a group, but never joins it: it assigns partitions itself.
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
                record = self._read_one(consumer, origin)
                if record is _UNAVAILABLE:
                    return
                self._cache[origin] = record
        except (KafkaException, SchemaAway) as error:
            log.info("cannot read raw records: %s", error)
        finally:
            consumer.close()

    def _read_one(self, consumer: Consumer, origin: str) -> RawRecord:
        try:
            topic, _, place = origin.partition("/")
            position = parse_place(place)
        except BadPlace:
            return _DELETED
        consumer.assign([TopicPartition(self._cluster.topic(topic), *position)])
        message = consumer.poll(_POLL_SECONDS)
        if message is None:
            return _UNAVAILABLE
        if (error := message.error()) is not None:
            return _DELETED if error.code() in _NOT_THERE else _UNAVAILABLE
        return self._raw_record(message) if message.offset() == position.offset else _DELETED

    def _raw_record(self, message: Message) -> RawRecord:
        pairs = headers_of(message)
        headers = masked_headers([[n, v.decode(errors="replace")] for n, v in pairs])
        value = message.value()
        try:
            schema, record = self._codecs.decode_any(value or b"")
        except BadRecord:
            return RawRecord(headers, body_json(content.shown(value, headers)))
        text = json.dumps(as_json(schema, record), ensure_ascii=False, indent=2)
        return RawRecord(headers, {"size": len(value or b""), "text": text})
