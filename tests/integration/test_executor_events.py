"""Which ends of tasks the scheduler hears of: those that the database does not know."""

from __future__ import annotations

import psycopg
import pytest
from airflow.executors.local_executor import LocalExecutor
from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
from airflow.models.taskinstancekey import TaskInstanceKey
from airflow.utils.session import create_session
from airflow.utils.state import State, TaskInstanceState

from airflow_config.executor import AirlaneExecutor
from airflow_config.executor_events import drop_known
from tests.metadata_database import insert_dag, insert_run, insert_task

STATES = [*sorted(TaskInstanceState), None]
ENDS = [TaskInstanceState.SUCCESS, TaskInstanceState.FAILED]


@pytest.fixture
def writer(writer: psycopg.Connection, metadata_orm: str) -> psycopg.Connection:
    insert_dag(writer, "d")
    insert_run(writer, "r", "running")
    for state in STATES:
        insert_task(writer, f"t-{state}", "r", state)
    return writer


def key(state: object) -> TaskInstanceKey:
    return TaskInstanceKey("d", f"t-{state}", "r", 1, -1)


def rows(writer: psycopg.Connection) -> list[tuple[object, ...]]:
    return writer.execute(
        "SELECT task_id, state, try_number, end_date, external_executor_id FROM task_instance"
        " ORDER BY task_id"
    ).fetchall()


@pytest.mark.parametrize("end", ENDS)
def test_only_tasks_under_way_are_told_of(
    writer: psycopg.Connection, end: TaskInstanceState
) -> None:
    events = {key(state): (end, None) for state in STATES}
    drop_known(events)
    assert sorted(task.task_id for task in events) == [
        "t-queued",
        "t-restarting",
        "t-running",
        "t-scheduled",
    ]


@pytest.mark.parametrize("end", ENDS)
def test_airflow_does_nothing_for_what_is_dropped(
    writer: psycopg.Connection, end: TaskInstanceState
) -> None:
    executor = LocalExecutor(parallelism=1)
    told = {key(state): (end, None) for state in STATES}
    kept = dict(told)
    drop_known(kept)
    executor.event_buffer = {task: event for task, event in told.items() if task not in kept}
    assert len(executor.event_buffer) == len(STATES) - len(kept) > 0
    before = rows(writer)
    with create_session() as session:
        SchedulerJobRunner.process_executor_events(executor, 1, None, session)
    assert rows(writer) == before
    assert writer.execute("SELECT count(*) FROM log").fetchone() == (0,)


@pytest.mark.parametrize("bounded", [True, False])
def test_the_executor_of_a_bounded_scheduler_leaves_out_what_is_known(
    writer: psycopg.Connection, monkeypatch: pytest.MonkeyPatch, bounded: bool
) -> None:
    executor = AirlaneExecutor(parallelism=1)
    monkeypatch.setattr(executor, "_bounded", bounded)
    executor.fail(key("success"))
    executor.fail(key("running"))
    told = [key("running")] if bounded else [key("success"), key("running")]
    assert list(executor.get_event_buffer()) == told
    assert not executor.get_event_buffer()


def test_what_is_not_an_end_is_left_alone(writer: psycopg.Connection) -> None:
    events = {key("success"): (TaskInstanceState.QUEUED, "id"), "callback": (State.SUCCESS, None)}
    before = dict(events)
    drop_known(events)
    assert events == before
