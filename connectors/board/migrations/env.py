"""What Alembic runs, not to be imported. Connection, transaction and lock are the caller's."""

from alembic import context

from connectors.board.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite cannot alter most of a table: Alembic then copies it.
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
