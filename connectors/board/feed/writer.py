"""Writes consumed messages to the store."""

import logging
from collections import Counter as Tally
from collections.abc import Sequence

from prometheus_client import Counter, Histogram

from connectors.board.database import tables as t
from connectors.board.database.projection import Batch, Message, project, refused
from connectors.board.database.store import RowRefused, Store
from schemas.codec import Codecs

log = logging.getLogger(__name__)

_RECORDS = Counter("linkstatus_board_records_total", "Records that the board stored.", ["topic"])
_BATCH = Histogram("linkstatus_board_batch_seconds", "Time to store one batch.")
_UNREADABLE = Counter(
    "linkstatus_board_unreadable_total", "Records that the board could not decode or store."
)


def store_messages(store: Store, codecs: Codecs, messages: Sequence[Message]) -> Batch:
    """Store the messages and their positions. Blocking.

    A row that the database refuses becomes a row of `unreadable`; its neighbours are stored.
    Raises StoreUnavailable, SchemaAway.
    """
    with _BATCH.time():
        batch = _store(store, codecs, messages)
    for topic, number in Tally(message.topic for message in messages).items():
        _RECORDS.labels(topic).inc(number)
    for row in batch.rows.get(t.unreadable, ()):
        _UNREADABLE.inc()
        origin = f"{row['topic']}/{row['partition']}/{row['offset']}"
        log.error("board: unreadable record %s: %s", origin, row["reason"])
    return batch


def _store(store: Store, codecs: Codecs, messages: Sequence[Message]) -> Batch:
    batch = project(codecs, messages)
    try:
        store.apply(batch)
    except RowRefused as error:
        batch = Batch()
        if len(messages) > 1:
            for message in messages:
                batch.extend(_store(store, codecs, [message]))
        else:
            batch = refused(messages[0], str(error))
            _set_aside(store, batch)
    return batch


def _set_aside(store: Store, batch: Batch) -> None:
    """Store the row of `unreadable`, or only the position if the database refuses even that."""
    try:
        store.apply(batch)
    except RowRefused as error:
        log.error("board: a record cannot even be set aside: %s", error)
        store.apply(Batch(positions=batch.positions, topic_ids=batch.topic_ids))
