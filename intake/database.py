"""The `app` database: connections, schema, and what each login may do."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Engine, create_engine, text

from intake import locks
from intake.locks import Lock
from intake.settings import IntakeSettings

_MIGRATIONS = Path(__file__).with_name("migrations")
#: Seconds to wait for a connection.
_CONNECT = 10

#: What each login may do, besides logging in.
GRANTS: dict[str, tuple[str, ...]] = {
    "airlane_worker": (
        "SELECT ON applicants",
        "SELECT, INSERT ON ledger, outbox",
        # nobody but the owner changes or deletes a version: what decided stays to be seen
        "SELECT, INSERT ON models, model_promotions, fraud_distributions, fraud_promotions",
        # nobody else reads the records of applicants here
        "SELECT, INSERT ON decision_inputs",
    ),
    # the listener, which answers for runs that cannot do it any more
    "airlane_intake": ("SELECT, INSERT ON ledger, outbox",),
    "airlane_relay": (
        "SELECT ON ledger, outbox",
        "UPDATE (position, published_at) ON outbox",
        "DELETE ON outbox",
    ),
}


def engine(url: str) -> Engine:
    """Return an engine of few connections; they are checked before use, for servers restart."""
    return create_engine(
        url,
        pool_pre_ping=True,
        pool_size=2,
        max_overflow=4,
        connect_args={"connect_timeout": _CONNECT},
    )


def app_engine() -> Engine:
    """Return an engine for the `app` database, with the login of this process's part.

    Raises
    ------
    intake.settings.MissingSettingError
        When the process is not told of it.
    """
    return engine(IntakeSettings().need("app_db_url"))


def migrate(owner_url: str) -> list[str]:
    """Bring the schema to the newest version; return what was changed, in words.

    Nothing happens when it is there, nor to the schema of a later release: after a rollback the
    database stays as it is, and each release works with the schema of the one after it.
    """
    # Here, not above: every task imports this module, and none needs Alembic.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.migration import MigrationContext  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    config = Config()
    # a percent sign begins a reference there
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    known = {one.revision for one in ScriptDirectory.from_config(config).walk_revisions()}
    owner = engine(owner_url)
    try:
        with owner.begin() as connection:
            locks.take(connection, Lock.MIGRATE)
            config.attributes["connection"] = connection
            before = MigrationContext.configure(connection).get_current_revision()
            if before not in {None, *known}:
                return []
            command.upgrade(config, "head")
            after = MigrationContext.configure(connection).get_current_revision()
    finally:
        owner.dispose()
    return [] if before == after else [f"database app: schema {before or 'new'} -> {after}"]


def grant(owner_url: str) -> None:
    """Give each login the least that they need, and take away all else."""
    owner = engine(owner_url)
    try:
        with owner.begin() as connection:
            database = owner.dialect.identifier_preparer.quote(owner.url.database or "")
            for login, rights in GRANTS.items():
                connection.execute(text(f"GRANT CONNECT ON DATABASE {database} TO {login}"))
                connection.execute(text(f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {login}"))
                connection.execute(text(f"GRANT USAGE ON SCHEMA public TO {login}"))
                for right in rights:
                    connection.execute(text(f"GRANT {right} TO {login}"))
    finally:
        owner.dispose()
