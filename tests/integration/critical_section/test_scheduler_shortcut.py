"""The short way through the critical section gives what Airflow's own way gives, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import psycopg
import pytest
from airflow.executors.executor_utils import ExecutorName
from airflow.executors.local_executor import LocalExecutor
from airflow.jobs.job import Job
from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
from airflow.models.pool import Pool
from airflow.ti_deps.dependencies_states import EXECUTION_STATES
from airflow.utils.session import create_session
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from sqlalchemy import inspect, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from airflow_config import scheduler_shortcut
from airflow_config.scheduler_candidates import Candidates
from tests.integration.critical_section.waiting_tasks import (
    POOLS,
    RUNS,
    STOCK_QUEUE,
    STOCK_STATS,
    TASKS,
    Task,
    fill,
)

Section = Callable[[Session], "list[Any] | None"]
#: What differs between any two times that a task is queued.
_OWN = ("updated_at", "queued_dttm", "external_executor_id")


class Sending(LocalExecutor):
    """As CeleryExecutor: it asks for an id while the task is queued."""

    pre_assigns_external_executor_id = True


def scheduler(slots: int = 8, kind: type[LocalExecutor] = Sending) -> SchedulerJobRunner:
    executor = kind(parallelism=slots)
    executor.name = ExecutorName("airflow.executors.local_executor.LocalExecutor")
    runner = SchedulerJobRunner(Job(id=1), executors=[executor])
    runner._multi_team = False
    return runner


#: Airflow adds one of its own.
ALL = frozenset({*POOLS, "default_pool"})


def short(runner: SchedulerJobRunner, max_tis: int = 8, examined: Collection[str] = ALL) -> Section:
    return lambda session: scheduler_shortcut.queue(runner, max_tis, session, ALL, examined)


def stock(runner: SchedulerJobRunner, max_tis: int = 8, examined: Collection[str] = ALL) -> Section:
    pools = Candidates(lambda pool: pool in examined).around_pools(STOCK_STATS)

    def section(session: Session) -> list[Any]:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(Pool, "slots_stats", staticmethod(pools))
            return STOCK_QUEUE(runner, max_tis, session=session)

    return section


def outcome(section: Section) -> tuple[Any, Any]:
    """Return what a critical section gives and what it writes; the database is as before."""
    with create_session() as session:
        try:
            tasks = section(session)
            if tasks is None:
                return None, None
            assert all(inspect(ti).transient for ti in tasks)
            sent = [
                (
                    {
                        column.key: getattr(ti, column.key)
                        for column in inspect(type(ti)).column_attrs
                        if column.key not in _OWN
                    },
                    bool(ti.external_executor_id),
                    (ti.dag_run.id, ti.dag_run.state, ti.dag_model.bundle_name),
                )
                for ti in tasks
            ]
            rows = session.execute(text("SELECT * FROM task_instance ORDER BY id")).mappings()
            written = [
                {key: bool(row[key]) if key in _OWN else row[key] for key in row} for row in rows
            ]
            return sent, written
        finally:
            session.rollback()


@settings(max_examples=80, deadline=None, suppress_health_check=[*HealthCheck])
@given(data=st.data())
def test_what_is_queued_is_what_airflow_queues(
    writer: psycopg.Connection, data: st.DataObject
) -> None:
    tasks = data.draw(st.lists(TASKS, min_size=1, max_size=6))
    priorities = data.draw(st.permutations(range(len(tasks))))
    max_tis = data.draw(st.integers(1, 6))
    runner = scheduler(
        data.draw(st.integers(1, 6)), data.draw(st.sampled_from([LocalExecutor, Sending]))
    )
    examined = data.draw(st.frozensets(st.sampled_from(sorted(ALL)), min_size=1))
    unlimited = data.draw(st.sets(st.sampled_from(sorted(POOLS)), max_size=1))
    fill(writer, tasks, priorities)

    def unbounded(section: Section) -> Section:
        def run(session: Session) -> list[Any] | None:
            change = text("UPDATE slot_pool SET slots = -1 WHERE pool = ANY(:pools)")
            session.execute(change, {"pools": list(unlimited)})
            return section(session)

        return run

    quick = outcome(unbounded(short(runner, max_tis, examined)))
    event(f"{'none' if quick[0] is None else len(quick[0])} go the short way")
    if quick[0] is not None:
        assert quick == outcome(unbounded(stock(runner, max_tis, examined)))


def test_a_task_that_fits_goes(writer: psycopg.Connection) -> None:
    fill(writer, [Task(RUNS[0], "onboarding"), Task(RUNS[0], "batch", state="running")], [5, 1])
    runner = scheduler()
    sent, written = outcome(short(runner))
    assert [task["task_id"] for task, *_ in sent] == ["t0"]
    assert (sent, written) == outcome(stock(runner))


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE task_instance SET executor = 'LocalExecutor'",
        "UPDATE task_instance SET pool_slots = 4",
        "UPDATE task_instance SET pool_slots = 0",
        "UPDATE dag SET has_task_concurrency_limits = true",
        "UPDATE dag SET max_active_tasks = 1",
        "UPDATE slot_pool SET slots = 1",
        "INSERT INTO slot_pool (pool, slots, include_deferred) VALUES ('new', 1, false)",
    ],
)
def test_in_doubt_airflow_decides(writer: psycopg.Connection, change: str) -> None:
    fill(writer, [Task(RUNS[0], "onboarding")] * 2, [2, 1])
    runner = scheduler()
    assert outcome(short(runner))[0]

    def changed(session: Session) -> list[Any] | None:
        session.execute(text(change))
        return short(runner)(session)

    assert outcome(changed) == (None, None)


def test_more_than_are_looked_at_are_airflows(
    writer: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler_shortcut, "MOST", 2)
    fill(writer, [Task(RUNS[0])] * 2, [2, 1])
    assert outcome(short(scheduler())) == (None, None)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE dag SET is_paused = true",
        "UPDATE dag_run SET state = 'queued'",
        "UPDATE slot_pool SET slots = 0",
        "UPDATE task_instance SET state = 'queued'",
    ],
)
def test_what_may_not_go_stays(writer: psycopg.Connection, change: str) -> None:
    fill(writer, [Task(RUNS[0], "onboarding")], [1])
    runner = scheduler()

    def changed(section: Section) -> Section:
        def run(session: Session) -> list[Any] | None:
            session.execute(text(change))
            return section(session)

        return run

    quick = outcome(changed(short(runner)))
    assert quick[0] == []
    assert quick == outcome(changed(stock(runner)))


def test_several_executors_are_airflows(writer: psycopg.Connection) -> None:
    fill(writer, [Task(RUNS[0])], [1])
    runner = scheduler()
    runner.executors.append(LocalExecutor(parallelism=1))
    assert outcome(short(runner)) == (None, None)


def test_a_second_scheduler_stays_outside(writer: psycopg.Connection) -> None:
    fill(writer, [Task(RUNS[0])], [1])
    with create_session() as first, create_session(scoped=False) as second:
        try:
            assert len(short(scheduler())(first) or []) == 1
            with pytest.raises(OperationalError, match="55P03"):
                short(scheduler())(second)
        finally:
            first.rollback()
            second.rollback()


def test_a_locked_pool_is_not_waited_for(writer: psycopg.Connection) -> None:
    fill(writer, [Task(RUNS[0])], [1])
    with writer.transaction(), create_session(scoped=False) as session:
        writer.execute("SELECT * FROM slot_pool FOR UPDATE")
        with pytest.raises(OperationalError, match="could not obtain lock"):
            short(scheduler())(session)
        session.rollback()


def test_the_states_that_take_a_slot_are_those_that_are_counted() -> None:
    assert {state.value for state in EXECUTION_STATES} == {"running", "queued"}
