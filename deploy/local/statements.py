"""What PostgreSQL spends its time on: the statistics of `pg_stat_statements`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from airflow_config.place import for_psycopg
from deploy.local import postgres
from deploy.local.instance import Instance, InstanceError
from deploy.logins import MONITOR, MONITORING

#: Of every statement of the server; our own look at them left out.
_TOP = """
SELECT d.datname AS database, r.rolname AS login, s.query AS statement, s.calls,
       s.total_exec_time / 1000 AS total_s, s.mean_exec_time AS mean_ms, s.rows,
       s.total_exec_time / nullif(sum(s.total_exec_time) OVER (), 0) AS share,
       s.calls / nullif(%(tasks)s, 0)::float AS calls_per_task,
       s.total_exec_time / nullif(%(tasks)s, 0) AS ms_per_task
FROM {schema}.pg_stat_statements s
JOIN pg_database d ON d.oid = s.dbid JOIN pg_roles r ON r.oid = s.userid
WHERE r.rolname <> current_user
ORDER BY s.total_exec_time DESC LIMIT %(limit)s
"""

#: A task that was tried again has a row for each earlier try in the history.
_ENDED = """
SELECT (SELECT count(*) FROM task_instance WHERE end_date >= %(since)s)
     + (SELECT count(*) FROM task_instance_history WHERE end_date >= %(since)s)
"""


@dataclass(frozen=True)
class Statement:
    """A statement and what it cost since the statistics were last forgotten.

    Parameters
    ----------
    database, login
        Where it was run, and by whom.
    statement
        Its text, with `$1` in the place of each value.
    calls
        How often it was run.
    total_s, mean_ms
        Time on the server: seconds of all calls, milliseconds of one.
    rows
        Rows that all calls returned or changed.
    share
        Of the time of all statements, 0 to 1.
    calls_per_task, ms_per_task
        For each task that ended in this time; None when none did.
    """

    database: str
    login: str
    statement: str
    calls: int
    total_s: float
    mean_ms: float
    rows: int
    share: float | None
    calls_per_task: float | None
    ms_per_task: float | None


@dataclass(frozen=True)
class Top:
    """The statements that cost most, the dearest first.

    Parameters
    ----------
    since
        When the statistics were last forgotten.
    tasks
        Tries of tasks that ended since then.
    statements
        As many as were asked for.
    """

    since: datetime
    tasks: int
    statements: list[Statement]

    def to_json(self) -> dict[str, Any]:
        """Return what `airlane db top --json` prints."""
        return {**asdict(self), "since": self.since.isoformat()}


def top(instance: Instance, limit: int) -> Top:
    """Return the statements that cost most since the last `forget`."""
    with _monitor(instance) as connection:
        since = _since(connection)
        counted = connection.execute(_ENDED, {"since": since}).fetchone()
        tasks = int(counted[0]) if counted else 0
        with connection.cursor(row_factory=class_row(Statement)) as cursor:
            cursor.execute(_schema(_TOP), {"limit": limit, "tasks": tasks})
            return Top(since, tasks, cursor.fetchall())


def forget(instance: Instance) -> datetime:
    """Forget all statistics, and return from when on they count."""
    with _monitor(instance) as connection:
        connection.execute(_schema("SELECT {schema}.pg_stat_statements_reset()"))
        return _since(connection)


def _since(connection: psycopg.Connection) -> datetime:
    row = connection.execute(
        _schema("SELECT stats_reset FROM {schema}.pg_stat_statements_info")
    ).fetchone()
    found: datetime = row[0]  # type: ignore[index]  # the view has one row always
    return found


def _schema(words: str) -> sql.Composed:
    return sql.SQL(words).format(schema=sql.Identifier(MONITORING))


def _monitor(instance: Instance) -> psycopg.Connection:
    password = instance.keys.get(MONITOR)
    if password is None:
        raise InstanceError(
            f"expected a password of {MONITOR}, found none: the stack was started by an "
            "older version. Fix: airlane down, airlane up"
        )
    address = postgres.url(instance.port("postgres"), "airflow", MONITOR, password)
    return psycopg.connect(for_psycopg(address), connect_timeout=10, options="-c TimeZone=UTC")
