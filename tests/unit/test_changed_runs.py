"""How often runs that nobody tells of are looked for, and which are found."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from airflow.models import import_all_models
from airflow.models.dag import DagModel
from airflow.models.dag_version import DagVersion
from airflow.models.dagrun import DagRun
from airflow.models.serialized_dag import SerializedDagModel
from airflow.models.taskinstance import TaskInstance
from sqlalchemy import Table, create_engine, insert
from sqlalchemy.orm import Session

from airflow_config import changed_runs
from airflow_config.changed_runs import ChangedRuns
from airflow_config.queues import BAND

BATCH = 1


class Looks:
    """Stands for a session, and counts what it is asked: once, for a sweep once more."""

    def __init__(self) -> None:
        self.count = 0

    def execute(self, *_: Any) -> list[Any]:
        self.count += 1
        return []


@pytest.fixture
def wakeup() -> Any:
    return SimpleNamespace(since=datetime.now(UTC), listening=True)


def test_looks_for_all_are_not_kept_away_by_those_for_a_few(wakeup: Any) -> None:
    now = 1000.0
    runs = ChangedRuns(wakeup, BATCH, lambda: now)
    few, every = Looks(), Looks()
    for number in range(100):
        runs.untold(few, sweeps=False)  # type: ignore[arg-type]
        if number % 10 == 0:
            runs.untold(every, sweeps=True)  # type: ignore[arg-type]
        now += 0.1
    assert every.count == 10 * 2
    assert few.count <= 10 / changed_runs.LOOK


def test_a_look_for_all_is_one_for_a_few_too(wakeup: Any) -> None:
    runs = ChangedRuns(wakeup, BATCH, lambda: 1000.0)
    looks = Looks()
    for sweeps in (True, False, True):
        runs.untold(looks, sweeps=sweeps)  # type: ignore[arg-type]
    assert looks.count == 2


#: More than one look finds.
MANY = changed_runs.CANDIDATES + 50


@pytest.fixture
def session() -> Iterator[Session]:
    """Give a database of running runs: many in which one task runs, and one that failed once."""
    import_all_models()  # tables refer to others
    engine = create_engine("sqlite://")
    models: tuple[Any, ...] = (DagModel, DagRun, TaskInstance, DagVersion, SerializedDagModel)
    for model in models:
        table: Table = model.__table__
        table.create(engine)
    now = datetime.now(UTC)
    with Session(engine) as session:
        flags = dict.fromkeys(("is_paused", "is_stale", "has_task_concurrency_limits"), False)
        limits = dict.fromkeys(("max_active_tasks", "max_consecutive_failed_dag_runs"), 1)
        dag = {"dag_id": "d", "bundle_name": "b", **flags, **limits}
        session.execute(insert(DagModel).values(dag))
        for number in range(MANY):
            examined = now - timedelta(seconds=40, milliseconds=-number)
            _add(session, f"resting-{number}", examined, "running")
        _add(session, "retries", now - timedelta(seconds=2), "up_for_retry")
        _add(session, "forgotten", now - timedelta(seconds=20), None)
        yield session


def _add(
    session: Session, run_id: str, examined: datetime, state: str | None, weight: int = BATCH * BAND
) -> None:
    run = {"dag_id": "d", "run_id": run_id}
    values: dict[str, Any] = {"run_type": "manual", "state": "running", "log_template_id": 1}
    past = datetime(2020, 1, 1, tzinfo=UTC)
    times = {"last_scheduling_decision": examined, "run_after": past, "start_date": past}
    session.execute(insert(DagRun).values(**run, **values, **times))
    task = {"id": uuid4(), "task_id": "t", "pool": "p", "pool_slots": 1, "state": state}
    session.execute(insert(TaskInstance).values(**run, **task, priority_weight=weight))


def test_a_retry_is_not_hidden_by_runs_that_rest(wakeup: Any, session: Session) -> None:
    wakeup.since -= timedelta(hours=1)
    assert ("d", "retries") in ChangedRuns(wakeup, BATCH).untold(session, sweeps=True)


def test_a_sweep_goes_on_behind_runs_that_rest(wakeup: Any, session: Session) -> None:
    wakeup.since -= timedelta(hours=1)
    now = 1000.0
    runs = ChangedRuns(wakeup, BATCH, lambda: now)
    assert ("d", "forgotten") not in runs.untold(session, sweeps=True)
    now += changed_runs.LOOK
    assert list(runs.untold(session, sweeps=True)) == [("d", "forgotten")]


def test_an_urgent_retry_is_found_before_many_sensors_of_batch(
    wakeup: Any, session: Session
) -> None:
    wakeup.since -= timedelta(hours=1)
    now = datetime.now(UTC)
    for number in range(MANY):
        _add(session, f"sensor-{number}", now - timedelta(seconds=9), "up_for_reschedule")
    _add(session, "urgent", now - timedelta(seconds=2), "up_for_retry", 100 * BAND)
    found = ChangedRuns(wakeup, BATCH).untold(session, sweeps=False)
    assert next(iter(found)) == ("d", "urgent")
    assert len(found) == changed_runs.CANDIDATES
