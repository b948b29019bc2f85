"""What an import reads from the topics, and writes to them: which links are known, which windows
are covered, and the answers.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from confluent_kafka import Message

from connectors.kafka import sync_producer, topic_reader
from connectors.kafka.cluster import Cluster
from connectors.kafka.sync_producer import Record
from schemas.codec import IMPORT_WINDOW, BadRecord, Codecs
from schemas.records import ImportWindow, Status
from schemas.topics import IMPORTS, LINK_STATUS, callbacks, message_key

_GROUP = "linkstatus-import"
_SECONDS = 60.0
# SQLite deletes this database at its end.
_ON_DISK = ""


def _messages(cluster: Cluster, topic: str, account: str) -> Iterator[Message]:
    prefix = message_key(account, "")
    for message in topic_reader.records(cluster, topic, True, True, group=_GROUP):
        if (message.key() or b"").startswith(prefix):
            yield message


class KnownLinks:
    """The status of each link of an account, as it was when the import began. In a temporary file,
    so that a million links need no memory.
    """

    def __init__(self, account: str, rows: Iterable[tuple[bytes | None, Status | None]]) -> None:
        """`rows` are keys of links, and the statuses."""
        self._account = account
        self._database = sqlite3.connect(_ON_DISK)
        self._database.execute(
            "CREATE TABLE links (key BLOB PRIMARY KEY, status TEXT) WITHOUT ROWID"
        )
        self._database.executemany("INSERT OR REPLACE INTO links VALUES (?, ?)", rows)

    def status(self, link_id: str) -> Status | None:
        """Return the link's status; None if we do not know the link."""
        query = "SELECT status FROM links WHERE key = ?"
        row = self._database.execute(query, (message_key(self._account, link_id),)).fetchone()
        status: Status | None = row[0] if row else None
        return status

    def close(self) -> None:
        self._database.close()


def _statuses(
    messages: Iterable[Message], codecs: Codecs
) -> Iterator[tuple[bytes | None, Status | None]]:
    for message in messages:
        value = message.value()
        try:
            # A link that nothing vouches for is forgotten.
            yield message.key(), None if value is None else codecs.peek_status(value)
        except (BadRecord, IndexError):
            continue


@dataclass(frozen=True, slots=True)
class ImportTopics:
    """The topics of an import of an account's links."""

    cluster: Cluster
    codecs: Codecs
    account: str

    def known_links(self) -> KnownLinks:
        """Raises NoSuchTopic, KafkaException, SchemaAway."""
        messages = _messages(self.cluster, LINK_STATUS.name, self.account)
        return KnownLinks(self.account, _statuses(messages, self.codecs))

    def covered(self) -> dict[str, ImportWindow]:
        """Return what is covered of each window, by its name. A record that cannot be read covers
        nothing. Raises NoSuchTopic, KafkaException, SchemaAway.
        """
        known: dict[str, ImportWindow] = {}
        for message in _messages(self.cluster, IMPORTS.name, self.account):
            with suppress(BadRecord):
                window = self.codecs.decode(IMPORT_WINDOW, message.value() or b"")
                known[window["window"]] = window
        return known

    def publish(self, records: Iterable[Record]) -> None:
        """Publish answers as raw records. Raises NotAcknowledged, KafkaException."""
        sync_producer.publish(self.cluster, callbacks(self.account).name, records, _SECONDS)

    def note(self, window: ImportWindow) -> None:
        """Note what is covered of a window. Raises NotAcknowledged, KafkaException."""
        key = message_key(self.account, window["window"])
        record: Record = (key, self.codecs.encode(IMPORT_WINDOW, window), [])
        sync_producer.publish(self.cluster, IMPORTS.name, [record], _SECONDS)
