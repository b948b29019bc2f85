"""PostgreSQL compares keys byte by byte, as SQLite always did: what begins with something is then a
range of an index. Each table's indexes are made anew, its rows stay where they are.
"""

from alembic import op

revision = "0004"
down_revision = "0003"

_COMPARED = {
    "link_status": ("provider", "link_id", "order_id"),
    "link_events": ("provider", "link_id", "event_id"),
    "link_payments": ("payment_id", "provider", "link_id"),
    "orders": ("provider", "order_id"),
    "order_close": ("event_id",),
    "settlements": ("event_id",),
    "anomalies": ("event_id",),
    "notices": ("event_id",),
    "dead_letters": ("topic",),
    "replays": ("event_id",),
    "handled": ("anomaly_id",),
    "unreadable": ("topic",),
    "positions": ("topic",),
}


def upgrade() -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
    for table, columns in _COMPARED.items():
        changes = ", ".join(f'ALTER "{column}" TYPE text COLLATE "C"' for column in columns)
        op.execute(f"ALTER TABLE {table} {changes}")
    # So that plans know them at once.
    op.execute("ANALYZE")
