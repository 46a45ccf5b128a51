"""Alembic's entry: `intake.database.migrate` hands over an open connection."""

from alembic import context

from intake.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
