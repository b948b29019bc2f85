"""Whom orders and links wait for."""

from alembic import op
from sqlalchemy import text

from connectors.board.database.columns import wait

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    waits = text("waits_for IS NOT NULL")
    for table, topic in (("link_status", "link-status"), ("orders", "orders")):
        for column in wait():
            op.add_column(table, column)
        op.create_index(
            *(f"{table}_waiting", table, ["waits_for", "waiting_since"]),
            sqlite_where=waits,
            postgresql_where=waits,
        )
        # The board reads the topic again and fills the columns: it replaces rows of version 0.
        op.execute(f"UPDATE {table} SET version = 0")  # noqa: S608 - no text from outside
        op.execute(f"DELETE FROM positions WHERE topic = '{topic}'")  # noqa: S608


def downgrade() -> None:
    for table in ("link_status", "orders"):
        op.drop_index(f"{table}_waiting", table)
        for column in wait():
            op.drop_column(table, column.name)
