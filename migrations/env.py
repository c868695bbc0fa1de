"""Alembic's environment: run by `flask db ...` inside the application's context."""

from __future__ import annotations

from alembic import context
from alembic.util import CommandError
from flask import current_app
from sqlalchemy import Connection

config = context.config
db = current_app.extensions["migrate"].db

#: Any number; the same for all who migrate. Two servers that start at once then migrate one after the other.
_MIGRATION_LOCK = 7_262_026


def run_migrations_online() -> None:
    with db.engine.connect() as connection:
        connection.execution_options(across_tenants="migration")
        context.configure(
            connection=connection,
            target_metadata=db.metadata,
            # SQLite can undo DDL too; without this Alembic would commit each revision, and let others in between.
            transactional_ddl=True,
            **current_app.extensions["migrate"].configure_args,
        )
        with context.begin_transaction():
            _wait_for_others(connection)
            context.run_migrations()


def _wait_for_others(connection: Connection) -> None:
    """Hold a lock for this transaction, from before the current revision is read."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET LOCAL lock_timeout = '60s'")
        connection.exec_driver_sql("SET LOCAL statement_timeout = '0'")
        # Row-level security, if it is on, hides the rows of all tenants from who does not say this.
        connection.exec_driver_sql("SELECT set_config('keyporter.tenant', 'all', true)")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})")


if context.is_offline_mode():
    # Revisions read what is there to move it; no list of statements does that.
    raise CommandError("--sql cannot be done: the migrations read the database. Run them on a copy of it.")
run_migrations_online()
