"""Callbacks that the edge did not take."""

from alembic import op
from sqlalchemy import BigInteger, Column, Index, MetaData, Table

from connectors.board.database.columns import keys, longs, texts

revision = "0002"
down_revision = "0001"

metadata = MetaData()

Table(
    "refused_callbacks",
    metadata,
    *keys("edge", "provider", "reason"),
    Column("hour", BigInteger, primary_key=True, autoincrement=False),
    *longs("version", "last_at"),
    *texts("record"),
    Index("refused_callbacks_hour", "hour"),
)


def upgrade() -> None:
    metadata.create_all(op.get_bind(), checkfirst=False)
