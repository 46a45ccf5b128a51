"""What the bounded scheduler loop asks of DagRuns, as conditions for the database."""

from __future__ import annotations

from typing import Any

from airflow.models.dag import DagModel
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.utils.state import DagRunState, TaskInstanceState
from sqlalchemy import func, select, tuple_

#: What an examination can move on when its time has come, besides tasks without a state.
TIMED = (TaskInstanceState.UP_FOR_RETRY, TaskInstanceState.UP_FOR_RESCHEDULE)


def examinable() -> tuple[Any, ...]:
    """Return what Airflow asks of a run that it examines."""
    return (
        DagRun.state == DagRunState.RUNNING,
        DagRun.run_after <= func.now(),
        ~DagModel.is_paused,
        ~DagModel.is_stale,
    )


def has_timed_tasks() -> Any:
    """Return whether a task of the run waits for a time: nobody tells when it comes.

    Which time it is stands in the DAG, not in the database. The inner query depends on nothing of
    the outer one, so that it runs once, over the index of states.
    """
    timed = select(TaskInstance.dag_id, TaskInstance.run_id).where(TaskInstance.state.in_(TIMED))
    return tuple_(DagRun.dag_id, DagRun.run_id).in_(timed)
