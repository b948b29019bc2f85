"""Storing consumed records. What cannot be read or stored is set aside; its neighbours go on."""

import logging
from collections.abc import Iterable, Sequence

from prometheus_client import Counter

from connectors.board import rows
from connectors.board import tables as t
from connectors.board.rows import Batch, Message
from connectors.board.store import RowRefused, Store

log = logging.getLogger(__name__)

_UNREADABLE = Counter(
    "linkstatus_board_unreadable_total", "Records that could not be decoded or stored."
)


def keep(store: Store, messages: Sequence[Message]) -> Batch:
    """Stores the messages. A row that the database refuses costs its neighbours nothing."""
    batch = rows.read(messages)
    try:
        store.apply(batch)
    except RowRefused as error:
        if len(messages) > 1:
            return _merged(keep(store, [message]) for message in messages)
        batch = rows.refused(messages[0], str(error))
        store.apply(batch)
    for row in batch.rows.get(t.unreadable, ()):
        _UNREADABLE.inc()
        log.error(
            "board: unreadable record %s/%s/%s: %s",
            *(row[name] for name in ("topic", "partition", "offset", "reason")),
        )
    return batch


def _merged(batches: Iterable[Batch]) -> Batch:
    whole = Batch()
    for batch in batches:
        whole.changes += batch.changes
        whole.positions |= batch.positions
        for table, some in batch.rows.items():
            whole.rows.setdefault(table, []).extend(some)
    return whole
