"""The bounded critical section queues what Airflow's own does, on a real metadata database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain

import psycopg
import pytest
from airflow.executors.executor_utils import ExecutorName
from airflow.executors.local_executor import LocalExecutor
from airflow.jobs.job import Job
from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
from airflow.models.pool import Pool
from airflow.utils.session import create_session
from airflow.utils.sqlalchemy import is_lock_not_available_error
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import OperationalError

from airflow_config import scheduler_candidates as module
from airflow_config.scheduler_candidates import Candidates
from tests.integration.critical_section.waiting_tasks import (
    RUNS,
    STOCK_QUEUE,
    STOCK_STATS,
    TASKS,
    Task,
    fill,
)
from tests.metadata_database import statements_heard


@pytest.fixture
def candidates(monkeypatch: pytest.MonkeyPatch) -> Candidates:
    """So few of them that every way through is taken."""
    monkeypatch.setattr(module, "FIRST", 2)
    monkeypatch.setattr(module, "MORE", 2)
    return Candidates(lambda _: True)


@contextmanager
def critical_section(
    candidates: Candidates | None, max_tis: int = 8
) -> Iterator[Callable[[], list[str]]]:
    """Give what runs it once and returns the tasks that it queued; Airflow's own with None."""
    executor = LocalExecutor(parallelism=max_tis)
    executor.name = ExecutorName("airflow.executors.local_executor.LocalExecutor")
    runner = SchedulerJobRunner(Job(), executors=[executor])
    queue = candidates.around_queueing(STOCK_QUEUE) if candidates else STOCK_QUEUE
    with pytest.MonkeyPatch.context() as patched:
        if candidates:
            patched.setattr(Pool, "slots_stats", staticmethod(candidates.around_pools(STOCK_STATS)))

        def once() -> list[str]:
            with create_session() as session:
                return [ti.task_id for ti in queue(runner, max_tis, session=session)]

        yield once


def loops(
    writer: psycopg.Connection, candidates: Candidates | None, max_tis: int = 8
) -> list[list[str]]:
    """Queue and end tasks until nothing can be queued; return what each loop queued."""
    found: list[list[str]] = []
    with critical_section(candidates, max_tis) as once:
        while not found or found[-1]:
            found.append(once())
            writer.execute("UPDATE task_instance SET state = 'success' WHERE state = 'queued'")
    return found


@pytest.fixture
def statements(metadata_orm: str) -> Iterator[list[str]]:
    """What this process asks of the database."""
    with statements_heard() as heard:
        yield heard


@settings(max_examples=60, deadline=None, suppress_health_check=[*HealthCheck])
@given(data=st.data())
def test_the_same_tasks_are_queued_in_the_same_loops(
    writer: psycopg.Connection, candidates: Candidates, data: st.DataObject
) -> None:
    tasks = data.draw(st.lists(TASKS, min_size=1, max_size=25))
    priorities = data.draw(st.permutations(range(len(tasks))))
    max_tis = data.draw(st.integers(1, 9))
    fill(writer, tasks, priorities)
    stock = loops(writer, None, max_tis)
    fill(writer, tasks, priorities)
    assert loops(writer, candidates, max_tis) == stock


@settings(max_examples=40, deadline=None, suppress_health_check=[*HealthCheck])
@given(data=st.data())
def test_with_equal_priorities_nobody_starves(
    writer: psycopg.Connection, candidates: Candidates, data: st.DataObject
) -> None:
    tasks = data.draw(st.lists(TASKS, min_size=1, max_size=25))
    priorities = data.draw(st.lists(st.integers(1, 2), min_size=25, max_size=25))[: len(tasks)]
    fill(writer, tasks, priorities)
    stock = loops(writer, None)
    fill(writer, tasks, priorities)
    bounded = loops(writer, candidates)
    assert sorted(chain(*bounded)) == sorted(chain(*stock))


def ranked(statements: list[str]) -> int:
    """Count the queries that rank tasks."""
    return sum("row_number()" in statement for statement in statements)


def test_when_nothing_waits_nothing_is_ranked(
    writer: psycopg.Connection, statements: list[str]
) -> None:
    fill(writer, [Task(RUNS[0], state="running"), Task(("paused", "paused-0"))], [1, 2])
    with critical_section(Candidates(lambda _: True)) as once:
        assert once() == []
    assert ranked(statements) == 0


def test_only_pools_of_this_loop_are_looked_at(writer: psycopg.Connection) -> None:
    run = RUNS[0]
    fill(writer, [Task(run), Task(run, "onboarding"), Task(run, "control")], [3, 2, 1])
    with critical_section(Candidates(lambda pool: pool != "batch")) as once:
        assert once() == ["t1", "t2"]
    with critical_section(Candidates(lambda _: True)) as once:
        assert once() == ["t0"]


def test_the_oldest_of_equal_priority_go_first(
    writer: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST", 4)
    fill(writer, [Task(("onboarding", "onboarding-0"))] * 12, [7] * 12)
    found = loops(writer, Candidates(lambda _: True))
    assert [sorted(tasks) for tasks in found] == [
        ["t0", "t1", "t2", "t3"],
        ["t4", "t5", "t6", "t7"],
        ["t10", "t11", "t8", "t9"],
        [],
    ]


def test_tasks_that_fit_are_found_behind_many_that_do_not(
    writer: psycopg.Connection, candidates: Candidates
) -> None:
    run = ("onboarding", "onboarding-0")
    fill(writer, [*[Task(run, slots=5)] * 40, Task(run)], [9] * 40 + [1])
    assert loops(writer, candidates, max_tis=2) == [["t40"], []]


def test_beyond_the_most_candidates_the_query_is_airflows_own(
    writer: psycopg.Connection, candidates: Candidates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST", 4)
    run = ("onboarding", "onboarding-0")
    fill(writer, [*[Task(run, slots=5)] * 20, Task(run)], [9] * 20 + [1])
    assert loops(writer, candidates, max_tis=2) == [["t20"], []]


def test_tasks_of_an_unknown_pool_are_named_from_time_to_time(
    writer: psycopg.Connection, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(writer, [Task(RUNS[0], "gone"), Task(RUNS[0])], [2, 1])
    with critical_section(Candidates(lambda _: True)) as once:
        assert once() == ["t1"]
        assert "non-existent pool" not in capsys.readouterr().out
        monkeypatch.setattr(module, "WHOLE", 0.0)
        assert once() == []
        assert "non-existent pool 'gone'" in capsys.readouterr().out


def test_an_index_gives_the_candidates(writer: psycopg.Connection) -> None:
    fill(writer, [Task(RUNS[0])] * 200, [1] * 200)
    writer.execute("UPDATE task_instance SET state = 'success' WHERE task_id > 't150'")
    writer.execute("ANALYZE task_instance")
    rows = writer.execute(
        "EXPLAIN SELECT id FROM task_instance WHERE state = 'scheduled' AND pool = 'batch'"
        " ORDER BY priority_weight DESC, id LIMIT 10"
    ).fetchall()
    assert "airlane_task_waiting" in "\n".join(row[0] for row in rows)


def test_airflow_knows_a_pool_that_somebody_else_holds(
    writer: psycopg.Connection, candidates: Candidates
) -> None:
    fill(writer, [Task(RUNS[0])], [1])
    with critical_section(candidates) as once:
        with writer.transaction():
            writer.execute("SELECT * FROM slot_pool FOR UPDATE")
            with pytest.raises(OperationalError) as found:
                once()
        assert is_lock_not_available_error(found.value)
        assert candidates.shut_out
        assert len(once()) == 1
        assert not candidates.shut_out
