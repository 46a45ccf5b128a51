"""Airflow's metadata database: what airlane adds to it, in migrations of its own.

Triggers and indexes only, and no table but the one of the versions, so that Airflow's own
migrations and commands find nothing that they do not know. But a trigger depends on columns of
Airflow's tables, and PostgreSQL refuses to alter such a column: `withdraw` takes everything away
before Airflow migrates, `migrate` brings it back.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, create_engine, inspect, text

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import Script

_MIGRATIONS = Path(__file__).with_name("metadata_migrations")
#: Beside Airflow's `alembic_version`.
VERSION_TABLE = "airlane_version"
#: Two at a time wait for each other under this advisory lock.
_LOCK = 7_002_002
#: Seconds to wait for a connection, and for a table that somebody uses.
_CONNECT, _LOCK_TIMEOUT = 10, 30

#: What each login may do besides the owner: to count tasks, and nothing that tells whose.
GRANTS: dict[str, tuple[str, ...]] = {
    "airlane_monitor": (
        "SELECT (state, end_date) ON task_instance",
        "SELECT (state, end_date) ON task_instance_history",
    )
}

_OBJECTS = text(
    "SELECT tgname FROM pg_trigger WHERE starts_with(tgname, 'airlane_')"
    " UNION SELECT indexname FROM pg_indexes WHERE starts_with(indexname, 'airlane_')"
)


class MetadataError(Exception):
    """The metadata database is not as it must be; the text says what to do."""


def migrate(url: str) -> list[str]:
    """Bring airlane's part to the newest version, and say in words what changed.

    The version alone is not believed: `airflow db reset` drops triggers and indexes together
    with Airflow's tables, and they are put back. A later release's part is left as it is: after a
    rollback the database stays, and each release works with what the one after it adds.

    Parameters
    ----------
    url
        SQLAlchemy address of the metadata database, with the login that owns Airflow's tables.

    Raises
    ------
    MetadataError
        When Airflow's own migrations have not been run.
    """
    from alembic import command  # noqa: PLC0415 - slow, and the scheduler needs none of it

    with _locked(url) as (connection, config):
        if not inspect(connection).has_table("task_instance"):
            raise MetadataError(
                "expected Airflow's tables in the metadata database, found no task_instance. "
                "Fix: airflow db migrate"
            )
        before = version(connection)
        if before not in {None, *(one.revision for one in _revisions(config))}:
            return []
        command.upgrade(config, "head")
        after = version(connection)
        if before != after:
            return [f"metadata database: airlane's part {before or 'new'} -> {after}"]
        missing = _expected(config) - set(connection.scalars(_OBJECTS))
        if not missing:
            return []
        command.stamp(config, "base")
        command.upgrade(config, "head")
        return [f"metadata database: put back {', '.join(sorted(missing))}"]


def withdraw(url: str) -> bool:
    """Take airlane's part away, as before a migration of Airflow; True when there was one."""
    from alembic import command  # noqa: PLC0415

    with _locked(url) as (connection, config):
        if version(connection) is None:
            return False
        command.downgrade(config, "base")
        return True


def grant(url: str) -> None:
    """Give each login of `GRANTS` what it may do; to grant it again changes nothing."""
    with _locked(url) as (connection, _):
        for login, rights in GRANTS.items():
            for right in rights:
                connection.execute(text(f"GRANT {right} TO {login}"))


def version(connection: Connection) -> str | None:
    """Return the version of airlane's part; None when there is none."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    found = connection.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}"))  # noqa: S608
    return None if found is None else str(found)


@contextmanager
def _locked(url: str) -> Iterator[tuple[Connection, Config]]:
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    engine = create_engine(url, connect_args={"connect_timeout": _CONNECT})
    try:
        with engine.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            connection.execute(text(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}s'"))
            config.attributes["connection"] = connection
            yield connection, config
    finally:
        engine.dispose()


def _expected(config: Config) -> set[str]:
    """Return the names of the triggers and indexes that the migrations make."""
    return {name for revision in _revisions(config) for name in revision.module.OBJECTS}


def _revisions(config: Config) -> Iterator[Script]:
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    return ScriptDirectory.from_config(config).walk_revisions()
