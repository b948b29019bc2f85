"""What people did: the subjects of notices, those that are there already too, and marks."""

import json

from alembic import op
from sqlalchemy import BigInteger, Boolean, Column, Text, bindparam, column, select, table, update

revision = "0003"
down_revision = "0002"

_ROWS = 1_000
_NOTICES = table("notices", column("event_id"), column("subject_id"), column("record"))


def upgrade() -> None:
    op.add_column("notices", Column("subject_id", Text))
    known = select(_NOTICES.c.event_id, _NOTICES.c.record)
    change = update(_NOTICES).where(_NOTICES.c.event_id == bindparam("of"))
    # All are read first: what is changed while it is read may come twice.
    rows = op.get_bind().execute(known).all()
    for first in range(0, len(rows), _ROWS):
        some = [
            {"of": row.event_id, "subject_id": json.loads(row.record)["subject_id"]}
            for row in rows[first : first + _ROWS]
        ]
        op.get_bind().execute(change.values(subject_id=bindparam("subject_id")), some)
    op.create_index("notices_subject", "notices", ["provider", "subject_id"])
    # Marks are new: no notice of before is one.
    op.create_table(
        "handled",
        Column("anomaly_id", Text, primary_key=True),
        Column("done", Boolean, nullable=False),
        Column("version", BigInteger, nullable=False),
        Column("record", Text, nullable=False),
    )
