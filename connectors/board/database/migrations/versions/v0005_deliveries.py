"""Each delivery of a callback, not only the first one of its event."""

import itertools
from typing import Any

from alembic import op
from sqlalchemy import MetaData, Table

from connectors.board.database.columns import keys, longs, position, texts

revision = "0005"
down_revision = "0004"

_COLUMNS = 'provider, link_id, event_id, received_at, "partition", "offset", record'


def upgrade() -> None:
    _replace(("provider", "link_id", "event_id", "delivery"), "delivery", ", ''")
    # The board reads the topic again and adds the repeats.
    op.execute("DELETE FROM positions WHERE topic = 'link-events'")


def downgrade() -> None:
    op.execute("DELETE FROM link_events WHERE delivery <> ''")
    _replace(("provider", "link_id", "event_id"), "", "")
    op.execute("DELETE FROM positions WHERE topic = 'link-events'")


def _replace(names: tuple[str, ...], new: str, value: str) -> None:
    """Copy the rows into a table with this key: SQLite changes the key of no table."""
    metadata = MetaData()
    parts = (keys(*names), longs("received_at"), position(), texts("record"))
    table = Table("link_events_new", metadata, *itertools.chain[Any](*parts))
    metadata.create_all(op.get_bind(), checkfirst=False)
    into = f"{_COLUMNS}, {new}" if new else _COLUMNS
    copy = f"INSERT INTO {table.name} ({into}) SELECT {_COLUMNS}{value} FROM link_events"  # noqa: S608
    op.execute(copy)
    op.drop_table("link_events")
    op.rename_table(table.name, "link_events")
    op.create_index("link_events_received", "link_events", ["received_at", "provider"])
