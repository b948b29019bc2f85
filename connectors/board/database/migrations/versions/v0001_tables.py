"""The first tables, as `tables.py` had them then."""

from alembic import op
from sqlalchemy import Column, Index, Integer, LargeBinary, MetaData, Table, Text

from connectors.board.database.columns import BY_BYTES, keys, longs, mark, position, texts

revision = "0001"
down_revision = None

metadata = MetaData()


def _decisions(name: str) -> Table:
    return Table(
        name,
        metadata,
        *keys("event_id"),
        *texts("provider", "order_id"),
        *longs("decided_at"),
        *texts("record"),
        Index(f"{name}_order", "provider", "order_id"),
    )


Table(
    "link_status",
    metadata,
    *keys("provider", "link_id"),
    *texts("status"),
    Column("order_id", BY_BYTES, nullable=False),
    *longs("changed_at", "version"),
    *texts("record"),
    Index("link_status_newest", "changed_at", "provider", "link_id"),
    Index("link_status_provider", "provider", "changed_at", "link_id"),
    Index("link_status_status", "status", "changed_at", "provider", "link_id"),
    Index("link_status_provider_status", "provider", "status", "changed_at", "link_id"),
    Index("link_status_order", "order_id", "provider", "changed_at", "link_id"),
)

Table(
    "link_events",
    metadata,
    *keys("provider", "link_id", "event_id"),
    *longs("received_at"),
    *position(),
    *texts("record"),
    Index("link_events_received", "received_at", "provider"),
)

Table("link_payments", metadata, *keys("payment_id", "provider", "link_id"))

Table(
    "orders",
    metadata,
    *keys("provider", "order_id"),
    *texts("state"),
    *longs("changed_at", "version"),
    *texts("record"),
    Index("orders_newest", "changed_at", "provider", "order_id"),
    Index("orders_provider", "provider", "changed_at", "order_id"),
    Index("orders_state", "state", "changed_at", "provider", "order_id"),
    Index("orders_provider_state", "provider", "state", "changed_at", "order_id"),
)

_decisions("order_close")
_decisions("order_corrections")
_decisions("settlements")

Table(
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

Table("anomaly_marks", metadata, *keys("anomaly_id"), *mark())

Table(
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

Table(
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

Table("dead_letter_marks", metadata, *position(key=True), *mark())

Table(
    "replays",
    metadata,
    *keys("event_id"),
    *position(),
    *longs("at"),
    *texts("record"),
    Index("replays_dead_letter", "partition", "offset"),
)

Table(
    "reconciliations",
    metadata,
    *keys("provider", "day"),
    *longs("differences", "at", "version"),
    *texts("record"),
    Index("reconciliations_newest", "day", "provider"),
    Index("reconciliations_differing", "at", "differences"),
)

Table(
    "unreadable",
    metadata,
    *keys("topic"),
    *position(key=True),
    *longs("at"),
    *texts("reason"),
    Column("key", LargeBinary),
    Column("size", Integer, nullable=False),
)

Table(
    "positions",
    metadata,
    *keys("topic"),
    Column("partition", Integer, primary_key=True, autoincrement=False),
    *longs("next_offset"),
    *texts("topic_id"),
)


def upgrade() -> None:
    metadata.create_all(op.get_bind(), checkfirst=False)
