"""Airflow's metadata database with its real schema, and airlane's part in it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
from sqlalchemy import event

#: What every row needs; Airflow fills it in Python.
_INSERT_RUN = """
INSERT INTO dag_run (dag_id, run_id, state, run_type, run_after, log_template_id, clear_number,
                     updated_at)
VALUES (%s, %s, %s, 'manual', now(), (SELECT max(id) FROM log_template), 0, now())
"""
#: As Airflow pickles what an author did not say.
_NO_CONFIG = bytes.fromhex("80057d942e")

_INSERT_BUNDLE = "INSERT INTO dag_bundle (name, active) VALUES ('b', true) ON CONFLICT DO NOTHING"
_INSERT_DAG = """
INSERT INTO dag (dag_id, is_paused, is_stale, max_active_tasks, max_active_runs,
                 max_consecutive_failed_dag_runs, has_task_concurrency_limits, fail_fast,
                 has_import_errors, bundle_name, timetable_type, partition_mapper_info)
VALUES (%s, false, false, 16, 16, 0, false, false, false, 'b', '', '{}')
"""

#: A version of a DAG, and what was read from its file.
_INSERT_VERSION = """
INSERT INTO dag_version (id, version_number, dag_id, bundle_name, created_at, last_updated)
VALUES (gen_random_uuid(), (SELECT count(*) + 1 FROM dag_version WHERE dag_id = %s), %s, 'b',
        now(), now()) RETURNING id
"""
_INSERT_SERIALIZED = """
INSERT INTO serialized_dag (id, dag_id, data, data_compressed, dag_hash, dag_version_id, created_at,
                            last_updated)
VALUES (gen_random_uuid(), %s, %s, %s, '', %s, now(), now())
"""


def migrate_airflow(url: str, home: Path) -> None:
    """Run `airflow db migrate` in a process of its own."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW__")},
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": url,
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    }
    words = [sys.executable, "-m", "airflow", "db", "migrate"]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


@contextmanager
def airflow_orm(url: str) -> Iterator[None]:
    """Have Airflow's ORM in this process speak to `url` until the block ends."""
    from airflow import settings
    from airflow.configuration import conf

    def speak_to(address: str) -> None:
        conf.set("database", "sql_alchemy_conn", address)
        settings.dispose_orm(do_log=False)
        settings.configure_vars()
        settings.configure_orm()

    before = conf.get("database", "sql_alchemy_conn")
    speak_to(url)
    try:
        yield
    finally:
        speak_to(before)


def insert_dag(connection: psycopg.Connection, dag_id: str) -> None:
    """Add a DAG that is not paused, without tasks."""
    connection.execute(_INSERT_BUNDLE)
    connection.execute(_INSERT_DAG, [dag_id])


def edit_dag(
    connection: psycopg.Connection,
    dag_id: str,
    data: str | None = "{}",
    compressed: bytes | None = None,
) -> UUID:
    """Add a newer version of a DAG, as when its file was edited; return the version's id."""
    row = connection.execute(_INSERT_VERSION, [dag_id, dag_id]).fetchone()
    assert row
    version: UUID = row[0]
    connection.execute(_INSERT_SERIALIZED, [dag_id, data, compressed, version])
    return version


def insert_run(connection: psycopg.Connection, run_id: str, state: str, dag_id: str = "d") -> None:
    """Add a run; its DAG need not be there."""
    connection.execute(_INSERT_RUN, [dag_id, run_id, state])


def insert_task(
    connection: psycopg.Connection,
    task_id: str,
    run_id: str,
    state: str | None,
    dag_id: str = "d",
    weight: int = 1,
    **columns: object,
) -> None:
    """Add a task to a run; `columns` of `task_instance` in the place of the usual ones."""
    values = {
        **{"id": uuid4(), "task_id": task_id, "dag_id": dag_id, "run_id": run_id, "map_index": -1},
        **{"state": state, "try_number": 1, "max_tries": 0, "hostname": "", "unixname": ""},
        **{"pool": "default_pool", "pool_slots": 1, "queue": "batch", "priority_weight": weight},
        **{"custom_operator_name": "", "executor_config": _NO_CONFIG, "span_status": "unset"},
        "updated_at": datetime.now(UTC),
        **columns,
    }
    places = ", ".join(f"%({name})s" for name in values)
    connection.execute(
        f"INSERT INTO task_instance ({', '.join(values)}) VALUES ({places})",  # noqa: S608
        values,
    )


def ago(seconds: float | None) -> datetime | None:
    """Return the time so many seconds ago; None for None."""
    return None if seconds is None else datetime.now(UTC) - timedelta(seconds=seconds)


@contextmanager
def statements_heard() -> Iterator[list[str]]:
    """Give what this process asks of Airflow's database meanwhile, statement by statement."""
    from airflow import settings

    heard: list[str] = []

    def hear(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        heard.append(statement)

    engine = settings.get_engine()
    event.listen(engine, "before_cursor_execute", hear)
    try:
        yield heard
    finally:
        event.remove(engine, "before_cursor_execute", hear)
