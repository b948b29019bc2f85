"""Dead letters that somebody has set aside. Marks are new: no notice of before is one."""

from alembic import op
from sqlalchemy import BigInteger, Boolean, Column, Integer, Text

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "aside",
        Column("partition", Integer, primary_key=True, autoincrement=False),
        Column("offset", BigInteger, primary_key=True, autoincrement=False),
        Column("done", Boolean, nullable=False),
        Column("version", BigInteger, nullable=False),
        Column("record", Text, nullable=False),
    )
