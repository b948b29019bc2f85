"""Alembic runs this file; nothing imports it. The caller owns connection, transaction and lock."""

from alembic import context

from connectors.board.database.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite cannot alter most of a table: Alembic copies the table instead.
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
