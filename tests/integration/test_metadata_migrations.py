"""What airlane adds to Airflow's metadata database: it wakes the scheduler, and stays apart."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import create_engine, text

from airflow_config import metadata
from tests.metadata_database import insert_dag, insert_run, insert_task, migrate_airflow
from tests.servers import PostgresServer

CHANNEL = "airlane_scheduler"
RUN = {"kind": "run", "dag_id": "d", "run_id": "r"}
TASK = {"kind": "task", "dag_id": "d", "run_id": "r"}


@pytest.fixture
def heard(metadata_url: str) -> Iterator[psycopg.Connection]:
    """Who listens to the channel."""
    with psycopg.connect(metadata_url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(f"LISTEN {CHANNEL}")
        yield connection


def told(listener: psycopg.Connection, writer: psycopg.Connection) -> list[dict[str, str]]:
    """Return what was told until now: notifications arrive in the order of commits."""
    writer.execute(f"NOTIFY {CHANNEL}, 'end'")
    found = []
    for notice in listener.notifies(timeout=30):
        if notice.payload == "end":
            return found
        found.append(json.loads(notice.payload))
    pytest.fail("the end was not heard")


@pytest.fixture
def task(writer: psycopg.Connection) -> psycopg.Connection:
    """A run with one task that has no state yet."""
    insert_run(writer, "r", "running")
    insert_task(writer, "t", "r", None)
    return writer


@pytest.mark.parametrize("state", ["queued", "running"])
def test_a_new_run_wakes(writer, heard, state: str) -> None:
    insert_run(writer, "r", state)
    assert told(heard, writer) == [RUN]


def test_a_run_that_was_cleared_wakes_and_one_that_starts_or_ends_does_not(writer, heard) -> None:
    insert_run(writer, "r", "success")
    assert told(heard, writer) == []
    writer.execute("UPDATE dag_run SET state = 'queued'")
    assert told(heard, writer) == [RUN]
    for state in ("queued", "running", "success"):
        writer.execute("UPDATE dag_run SET state = %s", [state])
    assert told(heard, writer) == []


@pytest.mark.parametrize(
    "state",
    [
        *("success", "failed", "skipped", "upstream_failed", "removed"),
        *("up_for_retry", "up_for_reschedule", "deferred", "awaiting_input", None),
    ],
)
def test_a_task_that_ends_or_gives_its_slot_back_wakes(task, heard, state: str | None) -> None:
    task.execute("UPDATE task_instance SET state = 'running'")
    task.execute("UPDATE task_instance SET state = %s", [state])
    assert told(heard, task) == [TASK]


def test_what_the_scheduler_and_workers_do_in_every_step_is_not_told(task, heard) -> None:
    for state in ("scheduled", "queued", "running", "running", "restarting"):
        task.execute("UPDATE task_instance SET state = %s", [state])
    task.execute("UPDATE task_instance SET last_heartbeat_at = now()")
    assert told(heard, task) == []


@pytest.mark.parametrize("state", ["deferred", "awaiting_input"])
def test_a_task_that_goes_on_after_it_waited_for_an_event_wakes(task, heard, state: str) -> None:
    task.execute("UPDATE task_instance SET state = %s", [state])
    told(heard, task)
    task.execute("UPDATE task_instance SET state = 'scheduled'")
    assert told(heard, task) == [TASK]


def test_many_tasks_of_a_run_in_one_transaction_are_told_once(task, heard) -> None:
    for number in range(50):
        insert_task(task, f"t{number}", "r", "running")
    with task.transaction():
        task.execute("UPDATE task_instance SET state = 'success'")
        assert not list(heard.notifies(timeout=0)), "nobody may be woken before the commit"
    assert told(heard, task) == [TASK]


def test_what_was_rolled_back_is_not_told(task, heard) -> None:
    with task.transaction(force_rollback=True):
        task.execute("UPDATE task_instance SET state = 'success'")
    assert told(heard, task) == []


def test_the_longest_names_fit(writer, heard) -> None:
    insert_run(writer, "\N{SNOWMAN}" * 250, "queued")
    assert told(heard, writer) == [{**RUN, "run_id": "\N{SNOWMAN}" * 250}]


def versions(url: str) -> tuple[str | None, str | None]:
    """Return airlane's version and Airflow's."""
    engine = create_engine(url)
    with engine.begin() as connection:
        airflow = connection.scalar(text("SELECT version_num FROM alembic_version"))
        found = metadata.version(connection), airflow
    engine.dispose()
    return found


def test_migrating_again_changes_nothing_and_neither_does_airflow(
    metadata_url: str, tmp_path: Path
) -> None:
    before = versions(metadata_url)
    assert before[0] is not None
    assert metadata.migrate(metadata_url) == []
    migrate_airflow(metadata_url, tmp_path)
    assert versions(metadata_url) == before
    assert metadata.migrate(metadata_url) == []


def test_it_can_be_withdrawn_and_brought_back(metadata_url: str, writer, heard) -> None:
    assert metadata.withdraw(metadata_url)
    # what a migration of Airflow might do, and PostgreSQL refuses while a trigger looks at it
    writer.execute("ALTER TABLE task_instance ALTER COLUMN state TYPE varchar(30)")
    assert not metadata.withdraw(metadata_url)
    assert metadata.migrate(metadata_url) != []
    insert_run(writer, "r", "queued")
    assert told(heard, writer) == [RUN]


def test_what_airflow_dropped_with_its_tables_is_put_back(metadata_url: str, writer) -> None:
    writer.execute("DROP TRIGGER airlane_task_changed ON task_instance")
    assert metadata.migrate(metadata_url) == ["metadata database: put back airlane_task_changed"]
    assert metadata.migrate(metadata_url) == []


def test_without_airflows_tables_it_says_what_to_do(postgres: PostgresServer) -> None:
    url = postgres.create_database("metadata_empty", owner="airflow")
    with pytest.raises(metadata.MetadataError, match="Fix: airflow db migrate"):
        metadata.migrate(url)


def test_two_at_once_wait_for_each_other(metadata_url: str) -> None:
    metadata.withdraw(metadata_url)
    changes: list[list[str]] = []
    threads = [
        threading.Thread(target=lambda: changes.append(metadata.migrate(metadata_url)), daemon=True)
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(map(len, changes)) == [0, 1]


def test_the_end_of_a_pause_wakes(writer, heard) -> None:
    insert_dag(writer, "d")
    writer.execute("UPDATE dag SET is_paused = true")
    assert told(heard, writer) == []
    writer.execute("UPDATE dag SET is_paused = false")
    assert told(heard, writer) == [{"kind": "dag", "dag_id": "d", "run_id": ""}]


def test_a_tasks_start_looks_at_runs_of_its_own_dag_only(writer) -> None:
    writer.execute(
        "INSERT INTO dag_run (dag_id, run_id, state, run_type, run_after, log_template_id,"
        " clear_number, updated_at) SELECT 'd' || n % 100, 'r' || n, 'success', 'manual',"
        " now() - n * interval '1 minute', (SELECT max(id) FROM log_template), 0, now()"
        " FROM generate_series(1, 5000) n"
    )
    writer.execute("ANALYZE dag_run")
    # the part of RenderedTaskInstanceFields.delete_old_records that grew with the database
    rows = writer.execute(
        "EXPLAIN SELECT run_id FROM dag_run WHERE dag_id = 'd7' ORDER BY run_after DESC LIMIT 30"
    ).fetchall()
    plan = "\n".join(row[0] for row in rows)
    assert "airlane_dag_run_latest" in plan
    assert "idx_dag_run_run_after" not in plan, "through the runs of all DAGs"
