"""A look at a run that asks the database for less finds what Airflow's own finds."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.sdk import DAG, BaseOperator
from airflow.serialization.serialized_objects import DagSerialization
from airflow.utils.session import create_session
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, text

from airflow_config import run_examination
from tests.integration.run_looks import RULES, STATES, examined, wrapped
from tests.metadata_database import insert_dag, insert_run, insert_task, statements_heard

TASKS = 5
EDGES = [(a, b) for b in range(TASKS) for a in range(b)]


@pytest.fixture
def writer(writer: psycopg.Connection, metadata_orm: str) -> psycopg.Connection:
    insert_dag(writer, "d")
    insert_run(writer, "r", "running", "d")
    for number in range(TASKS):
        insert_task(writer, f"t{number}", "r", None, "d", 1)
    writer.execute("UPDATE task_instance SET end_date = now(), try_number = 1")
    return writer


def dag_of(edges: list[tuple[int, int]], rules: list[str]) -> Any:
    """Return the DAG as the scheduler has it."""
    with DAG("d", schedule=None, start_date=datetime(2024, 1, 1, tzinfo=UTC)) as dag:
        tasks = [
            BaseOperator(task_id=f"t{number}", trigger_rule=rule)
            for number, rule in enumerate(rules)
        ]
        for above, below in edges:
            tasks[above].set_downstream(tasks[below])
    return DagSerialization.from_dict(DagSerialization.to_dict(dag))


@settings(max_examples=40, deadline=None, suppress_health_check=[*HealthCheck])
@given(
    edges=st.lists(st.sampled_from(EDGES), unique=True),
    rules=st.lists(st.sampled_from(RULES), min_size=TASKS, max_size=TASKS),
    states=st.lists(st.sampled_from(STATES), min_size=TASKS, max_size=TASKS),
)
def test_the_same_is_found_and_written(
    writer: psycopg.Connection, edges: list[Any], rules: list[str], states: list[str | None]
) -> None:
    for number, state in enumerate(states):
        writer.execute(
            "UPDATE task_instance SET state = %s WHERE task_id = %s", [state, f"t{number}"]
        )
    dag = dag_of(edges, rules)
    stock = examined(dag)
    with wrapped():
        assert examined(dag) == stock


def test_tasks_that_are_not_ready_are_read_once(writer: psycopg.Connection) -> None:
    writer.execute("UPDATE task_instance SET state = 'success' WHERE task_id = 't0'")
    dag = dag_of([(n, n + 1) for n in range(TASKS - 1)], ["all_success"] * TASKS)

    def reads() -> int:
        with statements_heard() as heard:
            assert examined(dag)[0] == ["t1"]
        return sum("SELECT task_instance.id" in statement for statement in heard)

    assert reads() == 2
    with wrapped():
        assert reads() == 1


def test_a_filter_of_others_is_airflows(writer: psycopg.Connection) -> None:
    with wrapped(), create_session() as session:
        tasks = session.scalars(select(TaskInstance)).all()
        found = TaskInstance.filter_for_tis({ti.key: ti.state for ti in tasks})
        assert found is not None
        assert len(session.scalars(select(TaskInstance).where(found)).all()) == TASKS


def version_check(answers: list[Any]) -> Callable[[Any, Any], Any]:
    check: Any = run_examination._version_check(lambda _run, _version, **_: answers.pop(0))
    return lambda run, version: check(SimpleNamespace(id=run), version, session=None)


def test_that_a_run_has_a_version_is_asked_until_it_has_it() -> None:
    answers: list[Any] = [None, "v1", "v2", "v1"]
    check = version_check(answers)
    assert [check(1, "v1"), check(1, "v1"), check(1, "v1")] == [None, "v1", "v1"]
    assert [check(1, "v2"), check(2, "v1")] == ["v2", "v1"]
    assert answers == []


def test_what_is_known_of_versions_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    check = version_check(["v1", None])
    assert check(1, "v1") == "v1"
    monkeypatch.setattr(run_examination, "KNOWN", 0.0)
    assert check(1, "v1") is None


@pytest.mark.parametrize(("state", "waits"), [("running", False), ("success", True)])
def test_only_the_end_of_a_run_waits_for_the_disk(
    writer: psycopg.Connection, state: str, waits: bool
) -> None:
    def examine(_runner: Any, guard: Any, runs: list[DagRun], session: Any) -> str:
        runs[0].state = state
        session.flush()
        guard.commit()
        return "callbacks"

    with create_session(scoped=False) as session, statements_heard() as heard:
        guard = SimpleNamespace(commit=session.commit)
        runs = session.scalars(select(DagRun)).all()
        schedule_all = run_examination._examination(examine)
        assert schedule_all(None, guard, runs, session) == "callbacks"
        assert ("SET LOCAL synchronous_commit = off" not in heard) == waits
        assert session.scalar(text("SHOW synchronous_commit")) == "on"
    assert writer.execute("SELECT state FROM dag_run").fetchall() == [(state,)]


def test_without_runs_nothing_is_asked(metadata_orm: str) -> None:
    with create_session(scoped=False) as session, statements_heard() as heard:
        schedule_all = run_examination._examination(lambda *_: _[1].commit())
        schedule_all(None, SimpleNamespace(commit=session.commit), [], session)
    assert heard == []
