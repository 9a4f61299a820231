"""Alembic's entry: migrations run on the connection that `studio.db.migrate` hands over."""

from alembic import context

from studio.db.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
)
context.run_migrations()
