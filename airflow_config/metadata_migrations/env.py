"""Alembic's entry: `airflow_config.metadata` hands over an open connection."""

from alembic import context

from airflow_config.metadata import VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=None,
    version_table=VERSION_TABLE,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
