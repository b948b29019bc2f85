"""What the schema id in a record stands for: noted on the cluster, in the topic `schemas`.

An id comes from a registry (`LINKSTATUS_SCHEMA_REGISTRY_URL`) or, without one, from the schema
itself. Either is noted before a record carries it, so whoever reads the record later can tell: with
the registry or without, in this release or in one before or after it.
"""

import logging
import time
from collections.abc import Iterator, Mapping

from confluent_kafka import KafkaError, KafkaException, Message

from connectors import producing, ungrouped
from connectors.kafka import Cluster
from schemas import codec, versions
from schemas.codec import SchemaAway
from schemas.topics import SCHEMAS, all_topics
from streams.schema_registry import Away, Refused, Registry
from streams.settings import BadSettings, Settings

log = logging.getLogger(__name__)

GROUP = "linkstatus-schemas"
_SECONDS = 15.0
# An id that nobody knew is not asked for again so soon: junk may come in numbers.
_UNKNOWN_SECONDS = 10.0
_UNKNOWN_KEPT = 1_000
_NO_TOPIC = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC)


class CannotNote(Exception):
    """An id could not be noted; the message says why."""


def prepare(settings: Settings) -> None:
    """For a process that writes records: sets the ids it writes, and whom it asks for others.
    Without a registry nobody is asked before there is a question. While the registry is away its
    ids of before are written on. Raises BadSettings, CannotNote, KafkaException.
    """
    cluster, url = settings.cluster(), settings.schema_registry_url
    read(cluster, url)
    if url is None:
        return codec.write_ids({})
    try:
        with Registry(url) as registry:
            ids = registry.ids(all_topics(()), settings.topic_prefix)
    except Refused as error:
        if isinstance(error, Away) and (ids := _given_before(cluster)):
            log.warning("the ids that it gave before are used: %s", error)
            return codec.write_ids(ids)
        raise BadSettings(f"LINKSTATUS_SCHEMA_REGISTRY_URL: {error}") from error
    note(cluster, {ids[one.name]: one.text for one in codec.ALL})
    return codec.write_ids(ids)


def read(cluster: Cluster, url: str | None = None) -> None:
    """For whoever reads records: asks the cluster's notes, then the registry, for unknown ids."""
    codec.ask(_Asked(cluster, url).text)


def note_own(cluster: Cluster) -> None:
    """Notes the ids that come from this release's schemas. Raises CannotNote, KafkaException."""
    note(cluster, {one.fingerprint: one.text for one in codec.ALL})


def note(cluster: Cluster, ids: Mapping[int, str]) -> None:
    """Notes those that are not yet. Raises CannotNote, KafkaException."""
    noted = notes(cluster)
    if noted is None:
        name = cluster.topic(SCHEMAS.name)
        raise CannotNote(f"there is no topic {name}: run `linkstatus topics create`")
    for number, text in ids.items():
        if number in noted and _layout(noted[number]) != _layout(text):
            raise CannotNote(
                f"records in these topics carry the schema id {number} for another schema than the "
                "registry has now; LINKSTATUS_SCHEMA_REGISTRY_URL is not what it was"
            )
    if new := {number: text for number, text in ids.items() if number not in noted}:
        _publish(cluster, new)


def _given_before(cluster: Cluster) -> dict[str, int]:
    """The ids that a registry gave this release's schemas, by their names, as noted; none if one of
    them has none.
    """
    given = {}
    for number, text in (notes(cluster) or {}).items():
        layout = _layout(text)
        if layout is not None and number != layout:
            given[layout] = number
    if any(one.fingerprint not in given for one in codec.ALL):
        return {}
    return {one.name: given[one.fingerprint] for one in codec.ALL}


def notes(cluster: Cluster) -> dict[int, str] | None:
    """The schemas noted, by id, the last one last; None if there is no topic for them. Raises
    KafkaException.
    """
    consumer = ungrouped.reader(cluster, GROUP, **{"fetch.wait.max.ms": 10})
    name = cluster.topic(SCHEMAS.name)
    try:
        try:
            numbers = ungrouped.partitions(consumer, name)
        except KafkaException as error:
            if error.args[0].code() in _NO_TOPIC:
                return None
            raise
        found = ungrouped.read(consumer, name, numbers, seconds=_SECONDS)
        by_time = sorted(found, key=lambda message: message.timestamp()[1])
        return dict(pair for message in by_time for pair in _note_in(message))
    finally:
        consumer.close()


def _note_in(message: Message) -> Iterator[tuple[int, str]]:
    key, value = message.key() or b"", message.value()
    if isinstance(key, bytes) and key.isdigit() and value is not None:
        yield int(key), value.decode(errors="replace")


def _publish(cluster: Cluster, ids: Mapping[int, str]) -> None:
    records: list[producing.Record] = [
        (str(number).encode(), text.encode(), []) for number, text in ids.items()
    ]
    try:
        producing.publish(cluster, SCHEMAS.name, records, _SECONDS)
    except producing.NotTaken as error:
        raise CannotNote(f"schemas were not noted: {error}") from error


def _layout(text: str) -> int | None:
    """What decides which bytes a record has; None if the text is no record's schema."""
    try:
        return versions.written(text).fingerprint
    except versions.NO_RECORD:
        return None


class _Asked:
    """Who is asked for the schema of an id that this release cannot name."""

    def __init__(self, cluster: Cluster, url: str | None) -> None:
        self._cluster = cluster
        self._url = url
        self._unknown: dict[int, float] = {}

    def text(self, number: int) -> str | None:
        """The schema, or None if nobody has it. Raises SchemaAway."""
        if time.monotonic() < self._unknown.get(number, 0):
            return None
        try:
            text = (notes(self._cluster) or {}).get(number) or self._registered(number)
        except (KafkaException, Refused) as error:
            raise SchemaAway(f"schema {number} cannot be looked up: {error}") from error
        if text is None:
            if len(self._unknown) >= _UNKNOWN_KEPT:
                self._unknown.clear()
            self._unknown[number] = time.monotonic() + _UNKNOWN_SECONDS
        return text

    def _registered(self, number: int) -> str | None:
        """What somebody else has registered. Noted, if it can be of use, for the day when there is
        no registry.
        """
        if self._url is None:
            return None
        with Registry(self._url) as registry:
            text = registry.text(number)
        if text is not None and _layout(text) is not None:
            try:
                note(self._cluster, {number: text})
            except (CannotNote, KafkaException) as error:
                log.warning("schema %d is not noted on the cluster: %s", number, error)
        return text
