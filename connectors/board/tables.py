"""The board's tables: what the topics say, in a shape that answers questions quickly.

Columns are what is searched and sorted by; `record` holds the whole record as JSON. Times are
microseconds since the epoch, UTC.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
)

metadata = MetaData()


# Compared byte by byte, as SQLite does. PostgreSQL would go by the database's language, and then no
# index finds what begins with something.
_BY_BYTES = Text().with_variant(Text(collation="C"), "postgresql")


def _key(name: str) -> Column[str]:
    return Column(name, _BY_BYTES, primary_key=True)


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False)


def _long(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False)


# Where each row came from: enough to find the Kafka record again.
def _position() -> tuple[Column[int], Column[int]]:
    return Column("partition", Integer, nullable=False), _long("offset")


def _position_key() -> tuple[Column[str], Column[int], Column[int]]:
    return (
        _key("topic"),
        Column("partition", Integer, primary_key=True, autoincrement=False),
        Column("offset", BigInteger, primary_key=True, autoincrement=False),
    )


link_status = Table(
    "link_status",
    metadata,
    _key("provider"),
    _key("link_id"),
    _text("status"),
    Column("order_id", _BY_BYTES, nullable=False),
    Column("in_order", Boolean, nullable=False),
    _long("changed_at"),
    _long("version"),
    _text("record"),
)
# One for each way the list is asked for; all end as the list is sorted.
_NEWEST = ("changed_at", "provider", "link_id")
for _name, _columns in {
    "newest": _NEWEST,
    "provider": ("provider", "changed_at", "link_id"),
    "status": ("status", *_NEWEST),
    "provider_status": ("provider", "status", "changed_at", "link_id"),
    "order": ("order_id", "provider", "changed_at", "link_id"),
}.items():
    Index(f"link_status_{_name}", *(link_status.c[column] for column in _columns))

link_events = Table(
    "link_events",
    metadata,
    # The id alone would do; led by the link, the same index finds the timeline.
    _key("provider"),
    _key("link_id"),
    _key("event_id"),
    _long("received_at"),
    *_position(),
    _text("record"),
)

# For what came lately, of all links.
Index("link_events_received", link_events.c.received_at, link_events.c.provider)

# To find a link by one of its payments.
link_payments = Table(
    "link_payments", metadata, _key("payment_id"), _key("provider"), _key("link_id")
)

orders = Table(
    "orders",
    metadata,
    _key("provider"),
    _key("order_id"),
    _text("state"),
    _long("changed_at"),
    _long("version"),
    _text("record"),
)
Index("orders_newest", *(orders.c[n] for n in ("changed_at", "provider", "order_id")))
Index("orders_state", orders.c.state)

order_close = Table(
    "order_close",
    metadata,
    _key("event_id"),
    _text("provider"),
    _text("order_id"),
    _long("decided_at"),
    _text("record"),
)
Index("order_close_order", order_close.c.provider, order_close.c.order_id)

settlements = Table(
    "settlements",
    metadata,
    _key("event_id"),
    _text("provider"),
    _text("order_id"),
    _long("decided_at"),
    _text("record"),
)
Index("settlements_order", settlements.c.provider, settlements.c.order_id)

anomalies = Table(
    "anomalies",
    metadata,
    _key("event_id"),
    _text("provider"),
    _text("link_id"),
    _text("kind"),
    _long("at"),
    _text("record"),
)
Index("anomalies_newest", anomalies.c.at, anomalies.c.event_id)
Index("anomalies_link", anomalies.c.provider, anomalies.c.link_id)

notices = Table(
    "notices",
    metadata,
    _key("event_id"),
    _text("provider"),
    _text("kind"),
    Column("subject_id", Text),
    _long("received_at"),
    _text("record"),
)
Index("notices_newest", notices.c.received_at, notices.c.event_id)
Index("notices_subject", notices.c.provider, notices.c.subject_id)

# The latest word of somebody about an anomaly; `version` is when it was said, `record` its notice.
handled = Table(
    "handled",
    metadata,
    _key("anomaly_id"),
    Column("done", Boolean, nullable=False),
    _long("version"),
    _text("record"),
)

dead_letters = Table(
    "dead_letters",
    metadata,
    *_position_key(),
    _long("at"),
    _text("reason"),
    _text("stage"),
    _text("origin"),
    Column("key", LargeBinary),
    _text("headers"),
    Column("body", LargeBinary),
)
Index("dead_letters_newest", *(dead_letters.c[n] for n in ("at", "partition", "offset")))

# The same about a dead letter: `done` is set aside.
aside = Table(
    "aside",
    metadata,
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("offset", BigInteger, primary_key=True, autoincrement=False),
    Column("done", Boolean, nullable=False),
    _long("version"),
    _text("record"),
)

# Who published which dead letter once more; `partition` and `offset` are the letter's.
replays = Table(
    "replays",
    metadata,
    _key("event_id"),
    *_position(),
    _long("at"),
    _text("record"),
)
Index("replays_letter", replays.c.partition, replays.c.offset)

# Records of the topics above that could not be decoded or stored.
unreadable = Table(
    "unreadable",
    metadata,
    *_position_key(),
    _long("at"),
    _text("reason"),
    Column("key", LargeBinary),
    Column("size", Integer, nullable=False),
)

# The next offset to read, written in the transaction that writes the rows before it.
positions = Table(
    "positions",
    metadata,
    _key("topic"),
    Column("partition", Integer, primary_key=True, autoincrement=False),
    _long("next_offset"),
)
