"""Replays, and the links of payments: those of the links that are there already too."""

import json

from alembic import op
from sqlalchemy import BigInteger, Column, Integer, Text, column, insert, select, table

revision = "0002"
down_revision = "0001"

_ROWS = 1_000
_LINK_STATUS = table("link_status", column("provider"), column("link_id"), column("record"))


def upgrade() -> None:
    links = op.create_table(
        "link_payments",
        Column("payment_id", Text, primary_key=True),
        Column("provider", Text, primary_key=True),
        Column("link_id", Text, primary_key=True),
    )
    rows = select(_LINK_STATUS)
    for some in op.get_bind().execute(rows).partitions(_ROWS):
        known = [
            {"payment_id": payment_id, "provider": row.provider, "link_id": row.link_id}
            for row in some
            for payment_id in set(json.loads(row.record)["payment_ids"])
        ]
        if known:
            op.get_bind().execute(insert(links), known)
    op.create_table(
        "replays",
        Column("event_id", Text, primary_key=True),
        Column("partition", Integer, nullable=False),
        Column("offset", BigInteger, nullable=False),
        Column("at", BigInteger, nullable=False),
        Column("record", Text, nullable=False),
    )
    op.create_index("replays_letter", "replays", ["partition", "offset"])
    op.create_index("link_events_received", "link_events", ["received_at", "provider"])
