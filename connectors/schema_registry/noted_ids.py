"""The topic `schemas`: which schema an id in a record stands for.

An id comes from a registry (`LINKSTATUS_SCHEMA_REGISTRY_URL`) or, without one, from the schema
itself. Processes note an id in the topic before a record carries it, so every reader can decode the
record later: with the registry or without it, in this release, an earlier or a later one.
"""

import itertools
import logging
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from functools import cached_property

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from connectors.backoff import backoff
from connectors.kafka import sync_producer, topic_reader
from connectors.kafka.cluster import Cluster
from connectors.reasons import reason_of
from connectors.schema_registry import client
from connectors.schema_registry.client import Away, Refused
from schemas import codec, versions
from schemas.codec import Codecs, SchemaAway
from schemas.limits import UNKNOWN_SCHEMA_IDS
from schemas.topics import SCHEMAS, all_topics

log = logging.getLogger(__name__)

GROUP = "linkstatus-schemas"
_TIMEOUT_SECONDS = 15.0
# Notes are read and written at a start, and a new broker on a busy machine is slow then.
_NOTING_SECONDS = 90.0
# An unknown id is not looked up again for this time: a topic may hold many junk records.
_UNKNOWN_SECONDS = 10.0
# Schema ids have 32 bits.
_LONGEST_KEY = 10
_NO_TOPIC = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC)


class CannotNote(Exception):
    """An id could not be noted; the message says why."""


def writer(cluster: Cluster, url: str | None) -> Codecs:
    """Return the codecs of a process that writes records, with the ids of the registry at `url`.

    Without a registry this connects to nothing. While the registry is away, the ids that it gave
    before are used. Raises Refused, CannotNote, KafkaException.
    """
    return Codecs(_registered_ids(cluster, url) if url else {}, _Lookup(cluster, url).schema)


def edge_writer(cluster: Cluster, url: str | None) -> Codecs:
    """As `writer`, but if the registry or the cluster is away, go on trying in a thread; until it
    answers, encoding raises SchemaAway. Raises Refused, CannotNote.
    """
    try:
        return writer(cluster, url)
    except (Away, KafkaException) as error:
        log.warning("no schema ids yet: %s", error)
        return Codecs(_LateIds(cluster, str(url)), _Lookup(cluster, url).schema)


class _LateIds(Mapping[str, int]):
    """The registry's ids of our schemas, by name, as soon as they are known."""

    def __init__(self, cluster: Cluster, url: str) -> None:
        self._cluster, self._url = cluster, url
        self._ids: dict[str, int] | None = None
        threading.Thread(target=self._fetch, name="schema-ids", daemon=True).start()

    def _fetch(self) -> None:
        for attempts in itertools.count(1):
            time.sleep(backoff(attempts, 0.5, 10.0))
            try:
                self._ids = _registered_ids(self._cluster, self._url)
            except (CannotNote, KafkaException, Refused) as error:
                log.warning("no schema ids yet: %s", error)
            else:
                return

    def _known(self) -> dict[str, int]:
        if self._ids is None:
            raise SchemaAway("the schema registry has not given the ids of our schemas yet")
        return self._ids

    def __getitem__(self, name: str) -> int:
        return self._known()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known())

    def __len__(self) -> int:
        return len(self._known())


def reader(cluster: Cluster, url: str | None = None) -> Codecs:
    """Return the codecs of a process that only reads records. They look up unknown ids in the
    topic, then in the registry at `url`.
    """
    return Codecs(find=_Lookup(cluster, url).schema)


def note_own(cluster: Cluster) -> None:
    """Note the ids derived from this release's schemas. Raises CannotNote, KafkaException."""
    note(cluster, {schema.fingerprint: schema.text for schema in codec.ALL})


def note(cluster: Cluster, ids: Mapping[int, str]) -> None:
    """Note the ids that are not noted yet. Raises CannotNote, KafkaException."""
    noted = noted_schemas(cluster, _NOTING_SECONDS)
    if noted is None:
        name = cluster.topic(SCHEMAS.name)
        raise CannotNote(f"there is no topic {name}: run `linkstatus topics create`")
    records: list[sync_producer.Record] = []
    for number, text in ids.items():
        # Text that is no record schema decodes no record: another program wrote it.
        known = _fingerprint(noted[number]) if number in noted else None
        if known is None:
            records.append((str(number).encode(), text.encode(), []))
        elif known != _fingerprint(text):
            raise CannotNote(
                f"records in these topics carry the schema id {number} for another schema than the "
                "registry has now; set LINKSTATUS_SCHEMA_REGISTRY_URL to the registry they are from"
            )
    if records:
        try:
            sync_producer.publish(cluster, SCHEMAS.name, records, _NOTING_SECONDS)
        except sync_producer.NotAcknowledged as error:
            raise CannotNote(f"schema ids could not be noted: {error}") from error


def noted_schemas(cluster: Cluster, seconds: float | None = None) -> dict[int, str] | None:
    """Return the noted schemas by id, the latest last; None if the topic does not exist. Raises
    KafkaException, also when it takes more than `seconds`.
    """
    name = cluster.topic(SCHEMAS.name)
    try:
        with closing(topic_reader.reader(cluster, GROUP, **{"fetch.wait.max.ms": 10})) as consumer:
            numbers = topic_reader.partitions(consumer, name)
            messages = list(
                topic_reader.read(consumer, name, numbers, seconds=seconds or _TIMEOUT_SECONDS)
            )
    except KafkaException as error:
        if error.args[0].code() in _NO_TOPIC:
            return None
        raise
    noted = {}
    for message in sorted(messages, key=lambda message: message.timestamp()[1]):
        key, value = message.key() or b"", message.value()
        is_id = isinstance(key, bytes) and key.isdigit() and len(key) <= _LONGEST_KEY
        if is_id and value is not None:
            noted[int(key)] = value.decode(errors="replace")
    return noted


def _registered_ids(cluster: Cluster, url: str) -> dict[str, int]:
    """Return the registry's ids of our schemas, by name, once they are noted."""
    try:
        ids = client.ids(url, all_topics(()), cluster.prefix)
    except Away as error:
        if ids := _previous_ids(cluster):
            log.warning("using the schema ids that the registry gave before: %s", error)
            return ids
        raise
    note(cluster, {ids[schema.name]: schema.text for schema in codec.ALL})
    return ids


def _previous_ids(cluster: Cluster) -> dict[str, int]:
    """Return the noted ids that a registry gave this release's schemas, by name; nothing if one of
    the schemas has no such id.
    """
    ids = {}
    for number, text in (noted_schemas(cluster) or {}).items():
        fingerprint = _fingerprint(text)
        if fingerprint not in (None, number):
            ids[fingerprint] = number
    if any(schema.fingerprint not in ids for schema in codec.ALL):
        return {}
    return {schema.name: ids[schema.fingerprint] for schema in codec.ALL}


def _fingerprint(text: str) -> int | None:
    """Return the fingerprint of a record schema, None for any other text."""
    try:
        return versions.parse(text).fingerprint
    except versions.NOT_A_RECORD:
        return None


class _Lookup:
    """Looks up ids that this release does not know. It reads the topic only when it has grown."""

    def __init__(self, cluster: Cluster, url: str | None) -> None:
        self._cluster = cluster
        self._url = url
        self._noted: dict[int, str] = {}
        self._read_to: dict[int, int] | None = None
        self._unknown_until: dict[int, float] = {}

    def schema(self, number: int) -> str | None:
        """Return the schema of an id, None for an unknown id. Raises SchemaAway."""
        if time.monotonic() < self._unknown_until.get(number, 0):
            return None
        try:
            text = self._noted_schema(number) or self._registered(number)
        except (KafkaException, Refused) as error:
            raise SchemaAway(f"schema {number} cannot be looked up: {reason_of(error)}") from error
        if text is None:
            if len(self._unknown_until) >= UNKNOWN_SCHEMA_IDS:
                self._unknown_until.clear()
            self._unknown_until[number] = time.monotonic() + _UNKNOWN_SECONDS
        return text

    def _noted_schema(self, number: int) -> str | None:
        try:
            ends = self._ends()
        except (KafkaException, TimeoutError):
            ends = None  # the read finds out what is wrong
        if ends is None or ends != self._read_to:
            self._noted = noted_schemas(self._cluster) or {}
            self._read_to = ends
        return self._noted.get(number)

    @cached_property
    def _admin(self) -> AdminClient:
        return AdminClient({**self._cluster.librdkafka(), "log_level": 0})

    def _ends(self) -> dict[int, int]:
        """Return the end offset of each partition of the topic; none if it does not exist."""
        name = self._cluster.topic(SCHEMAS.name)
        topic = self._admin.list_topics(name, timeout=topic_reader.TIMEOUT).topics[name]
        latest = {
            TopicPartition(name, number): OffsetSpec.latest()  # type: ignore[no-untyped-call]
            for number in topic.partitions
        }
        answers = self._admin.list_offsets(latest) if latest else {}
        return {
            partition.partition: answer.result(topic_reader.TIMEOUT).offset
            for partition, answer in answers.items()
        }

    def _registered(self, number: int) -> str | None:
        """Return the registry's schema of an id. A record schema is noted, so that its records can
        be decoded when there is no registry any more.
        """
        text = client.text(self._url, number) if self._url else None
        if text is not None and _fingerprint(text) is not None:
            try:
                note(self._cluster, {number: text})
            except (CannotNote, KafkaException) as error:
                log.warning("schema %d is not noted on the cluster: %s", number, error)
        return text
