"""The rows behind the money."""

from alembic import op
from sqlalchemy import BigInteger, Column, MetaData, Table

from connectors.board.database.columns import keys

revision = "0006"
down_revision = "0005"

_TOPICS = {"link_status": "link-status", "orders": "orders", "reconciliations": "reconciliations"}
metadata = MetaData()

Table(
    "counted_rows",
    metadata,
    *keys("measure"),
    Column("at", BigInteger, primary_key=True, autoincrement=False),
    *keys("provider", "name", "currency"),
)


def upgrade() -> None:
    metadata.create_all(op.get_bind(), checkfirst=False)
    _count_again()


def downgrade() -> None:
    metadata.drop_all(op.get_bind())
    _count_again()


def _count_again() -> None:
    """Let the board read the topics again: figures had days, and have times."""
    op.execute("DELETE FROM money")
    for table, topic in _TOPICS.items():
        op.execute(f"UPDATE {table} SET version = 0, figures = NULL")  # noqa: S608 - no outside text
        op.execute(f"DELETE FROM positions WHERE topic = '{topic}'")  # noqa: S608
