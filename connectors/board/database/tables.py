"""The board's tables: the topics in a shape that answers questions quickly.

The columns are what the board searches and sorts by; `record` holds the whole record as JSON. Times
are microseconds since the epoch, UTC.
"""

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, MetaData, Table, Text

from connectors.board.database.columns import (
    BY_BYTES,
    figures,
    keys,
    longs,
    mark,
    position,
    texts,
    wait,
    waiting_index,
)

metadata = MetaData()


def _decisions(name: str) -> Table:
    """The decisions about orders: closes, corrections or settlements."""
    return Table(
        name,
        metadata,
        *keys("event_id"),
        *texts("provider", "order_id"),
        *longs("decided_at"),
        *texts("record"),
        Index(f"{name}_order", "provider", "order_id"),
    )


link_status = Table(
    "link_status",
    metadata,
    *keys("provider", "link_id"),
    *texts("status"),
    Column("order_id", BY_BYTES, nullable=False),
    *longs("changed_at", "version"),
    *texts("record"),
    *wait(),
    figures(),
    # One index for each filter of the list of links. All end with the sort order of the list.
    Index("link_status_newest", "changed_at", "provider", "link_id"),
    Index("link_status_provider", "provider", "changed_at", "link_id"),
    Index("link_status_status", "status", "changed_at", "provider", "link_id"),
    Index("link_status_provider_status", "provider", "status", "changed_at", "link_id"),
    Index("link_status_order", "order_id", "provider", "changed_at", "link_id"),
    waiting_index("link_status_waiting"),
)

link_events = Table(
    "link_events",
    metadata,
    # The key begins with the link, so that its index finds a timeline. `delivery` is the origin of
    # a callback, so that each repeat has a row, and empty for all else: an event stays once.
    *keys("provider", "link_id", "event_id", "delivery"),
    *longs("received_at"),
    *position(),
    *texts("record"),
    # For the events of the last hour, of all links.
    Index("link_events_received", "received_at", "provider"),
)

# Finds a link by one of its payments.
link_payments = Table("link_payments", metadata, *keys("payment_id", "provider", "link_id"))

orders = Table(
    "orders",
    metadata,
    *keys("provider", "order_id"),
    *texts("state"),
    *longs("changed_at", "version"),
    *texts("record"),
    *wait(),
    figures(),
    Index("orders_newest", "changed_at", "provider", "order_id"),
    Index("orders_provider", "provider", "changed_at", "order_id"),
    Index("orders_state", "state", "changed_at", "provider", "order_id"),
    Index("orders_provider_state", "provider", "state", "changed_at", "order_id"),
    waiting_index("orders_waiting"),
)

order_close = _decisions("order_close")
order_corrections = _decisions("order_corrections")
settlements = _decisions("settlements")

anomalies = Table(
    "anomalies",
    metadata,
    *keys("event_id"),
    *texts("provider", "link_id", "kind"),
    *longs("at"),
    *texts("record"),
    Index("anomalies_newest", "at", "event_id"),
    Index("anomalies_kind", "kind", "at", "event_id"),
    Index("anomalies_link", "provider", "link_id"),
)

# The latest mark of each anomaly.
anomaly_marks = Table("anomaly_marks", metadata, *keys("anomaly_id"), *mark())

notices = Table(
    "notices",
    metadata,
    *keys("event_id"),
    *texts("provider", "kind"),
    Column("subject_id", Text),
    *longs("received_at"),
    *texts("record"),
    Index("notices_newest", "received_at", "event_id"),
    Index("notices_subject", "provider", "subject_id"),
)

# `link_key` is the key as text, if it can be that of a link: PostgreSQL indexes no long bytes.
dead_letters = Table(
    "dead_letters",
    metadata,
    *keys("topic"),
    *position(key=True),
    *longs("at"),
    *texts("reason", "stage", "origin"),
    Column("link_key", BY_BYTES),
    Column("key", LargeBinary),
    *texts("headers"),
    Column("body", LargeBinary),
    Index("dead_letters_newest", "at", "topic", "partition", "offset"),
    Index("dead_letters_link", "link_key"),
)

# The latest mark of each dead letter. `partition` and `offset` are those of the dead letter.
dead_letter_marks = Table("dead_letter_marks", metadata, *position(key=True), *mark())

# Who replayed which dead letter. `partition` and `offset` are those of the dead letter.
replays = Table(
    "replays",
    metadata,
    *keys("event_id"),
    *position(),
    *longs("at"),
    *texts("record"),
    Index("replays_dead_letter", "partition", "offset"),
)

# One day of a provider. `version` counts the records of its partition, `at` is
# when it was reconciled.
reconciliations = Table(
    "reconciliations",
    metadata,
    *keys("provider", "day"),
    *longs("differences", "at", "version"),
    *texts("record"),
    figures(),
    Index("reconciliations_newest", "day", "provider"),
    Index("reconciliations_differing", "at", "differences"),
)

# The money of a day: the sum of the figures of all rows.
money = Table(
    "money",
    metadata,
    *keys("day", "currency", "provider", "measure"),
    *longs("number", "amount_minor", "unknown"),
)

# The rows behind `money`: whose row has a figure, and for what time; `name` is its id.
counted_rows = Table(
    "counted_rows",
    metadata,
    *keys("measure"),
    Column("at", BigInteger, primary_key=True, autoincrement=False),
    *keys("provider", "name", "currency"),
)

# What the edge did not take. `version` is the number of callbacks within the hour.
refused_callbacks = Table(
    "refused_callbacks",
    metadata,
    *keys("edge", "provider", "reason"),
    Column("hour", BigInteger, primary_key=True, autoincrement=False),
    *longs("version", "last_at"),
    *texts("record"),
    Index("refused_callbacks_hour", "hour"),
)

# Records of the topics above that the board could not decode or store.
unreadable = Table(
    "unreadable",
    metadata,
    *keys("topic"),
    *position(key=True),
    *longs("at"),
    *texts("reason"),
    Column("key", LargeBinary),
    Column("size", Integer, nullable=False),
)

# The next offset to read. The transaction that writes the rows before it writes it, too. A topic
# that was deleted and created again has another id (KIP-516).
positions = Table(
    "positions",
    metadata,
    *keys("topic"),
    Column("partition", Integer, primary_key=True, autoincrement=False),
    *longs("next_offset"),
    *texts("topic_id"),
)
