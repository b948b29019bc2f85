"""The first tables.

Each only where it is missing: before there were revisions, the board made its tables at its start.
"""

from collections.abc import Sequence

from alembic import op
from sqlalchemy import BigInteger, Boolean, Column, Integer, LargeBinary, Text

revision = "0001"
down_revision = None


def _key(name: str) -> Column[str]:
    return Column(name, Text, primary_key=True)


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False)


def _long(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False)


def _position_key() -> tuple[Column[str], Column[int], Column[int]]:
    return (
        _key("topic"),
        Column("partition", Integer, primary_key=True, autoincrement=False),
        Column("offset", BigInteger, primary_key=True, autoincrement=False),
    )


def _make(table: str, *columns: Column[str] | Column[int] | Column[bool] | Column[bytes]) -> None:
    op.create_table(table, *columns, if_not_exists=True)


def _index(table: str, name: str, columns: Sequence[str]) -> None:
    op.create_index(f"{table}_{name}", table, columns, if_not_exists=True)


def upgrade() -> None:
    _links()
    _orders()
    _what_people_should_see()
    _aside()


def _links() -> None:
    _make(
        "link_status",
        _key("provider"),
        _key("link_id"),
        _text("status"),
        _text("order_id"),
        Column("in_order", Boolean, nullable=False),
        _long("changed_at"),
        _long("version"),
        _text("record"),
    )
    newest = ("changed_at", "provider", "link_id")
    _index("link_status", "newest", newest)
    _index("link_status", "provider", ("provider", "changed_at", "link_id"))
    _index("link_status", "status", ("status", *newest))
    _index("link_status", "provider_status", ("provider", "status", "changed_at", "link_id"))
    _index("link_status", "order", ("order_id", "provider", "changed_at", "link_id"))
    _make(
        "link_events",
        _key("provider"),
        _key("link_id"),
        _key("event_id"),
        _long("received_at"),
        Column("partition", Integer, nullable=False),
        _long("offset"),
        _text("record"),
    )


def _orders() -> None:
    _make(
        "orders",
        _key("provider"),
        _key("order_id"),
        _text("state"),
        _long("changed_at"),
        _long("version"),
        _text("record"),
    )
    _index("orders", "newest", ("changed_at", "provider", "order_id"))
    _index("orders", "state", ("state",))
    for table in ("order_close", "settlements"):
        _make(
            table,
            _key("event_id"),
            _text("provider"),
            _text("order_id"),
            _long("decided_at"),
            _text("record"),
        )
        _index(table, "order", ("provider", "order_id"))


def _what_people_should_see() -> None:
    _make(
        "anomalies",
        _key("event_id"),
        _text("provider"),
        _text("link_id"),
        _text("kind"),
        _long("at"),
        _text("record"),
    )
    _index("anomalies", "newest", ("at", "event_id"))
    _index("anomalies", "link", ("provider", "link_id"))
    _make(
        "notices",
        _key("event_id"),
        _text("provider"),
        _text("kind"),
        _long("received_at"),
        _text("record"),
    )
    _index("notices", "newest", ("received_at", "event_id"))


def _aside() -> None:
    _make(
        "dead_letters",
        *_position_key(),
        _long("at"),
        _text("reason"),
        _text("stage"),
        _text("origin"),
        Column("key", LargeBinary),
        _text("headers"),
        Column("body", LargeBinary),
    )
    _index("dead_letters", "newest", ("at", "partition", "offset"))
    _make(
        "unreadable",
        *_position_key(),
        _long("at"),
        _text("reason"),
        Column("key", LargeBinary),
        Column("size", Integer, nullable=False),
    )
    _make(
        "positions",
        _key("topic"),
        Column("partition", Integer, primary_key=True, autoincrement=False),
        _long("next_offset"),
    )
