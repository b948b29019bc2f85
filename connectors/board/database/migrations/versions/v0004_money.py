"""Where the money is: sums by day and currency."""

from alembic import op
from sqlalchemy import MetaData, Table

from connectors.board.database.columns import figures, keys, longs

revision = "0004"
down_revision = "0003"

_TOPICS = {"link_status": "link-status", "orders": "orders", "reconciliations": "reconciliations"}
metadata = MetaData()

Table(
    "money",
    metadata,
    *keys("day", "currency", "provider", "measure"),
    *longs("number", "amount_minor", "unknown"),
)


def upgrade() -> None:
    metadata.create_all(op.get_bind(), checkfirst=False)
    for table, topic in _TOPICS.items():
        op.add_column(table, figures())
        # The board reads the topic again and fills the column: it replaces rows of version 0.
        op.execute(f"UPDATE {table} SET version = 0")  # noqa: S608 - no text from outside
        op.execute(f"DELETE FROM positions WHERE topic = '{topic}'")  # noqa: S608


def downgrade() -> None:
    for table in _TOPICS:
        op.drop_column(table, "figures")
    metadata.drop_all(op.get_bind())
