"""What the bounded scheduler loop asks of DagRuns, as conditions for the database."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from airflow.models.dag import DagModel
from airflow.models.dag_version import DagVersion
from airflow.models.dagrun import DagRun
from airflow.models.serialized_dag import SerializedDagModel
from airflow.models.taskinstance import TaskInstance
from airflow.utils.state import DagRunState, State, TaskInstanceState
from sqlalchemy import and_, exists, func, or_, select, tuple_

#: What an examination can move on when its time has come, besides tasks without a state.
TIMED = (TaskInstanceState.UP_FOR_RETRY, TaskInstanceState.UP_FOR_RESCHEDULE)

#: What ends by itself and tells so.
_UNFINISHED = tuple(state for state in State.unfinished if state not in {None, *TIMED})


def examinable() -> tuple[Any, ...]:
    """Return what Airflow asks of a run that it examines."""
    return (
        DagRun.state == DagRunState.RUNNING,
        DagRun.run_after <= func.now(),
        ~DagModel.is_paused,
        ~DagModel.is_stale,
    )


def has_timed_tasks(weight: int | None = None) -> Any:
    """Return whether a task of the run waits for a time: nobody tells when it comes.

    Which time it is stands in the DAG, not in the database. The inner query depends on nothing of
    the outer one, so that it runs once, over the index of states.

    Parameters
    ----------
    weight
        Only tasks of at least this priority weight.
    """
    timed = select(TaskInstance.dag_id, TaskInstance.run_id).where(TaskInstance.state.in_(TIMED))
    if weight is not None:
        timed = timed.where(TaskInstance.priority_weight >= weight)
    return tuple_(DagRun.dag_id, DagRun.run_id).in_(timed)


def with_nothing_to_schedule(ids: Collection[int]) -> Any:
    """Return the query for which of these runs have only running and waiting tasks left.

    Their DAG has not been edited since they were examined either: it may have more tasks now.
    """
    of_run = and_(TaskInstance.dag_id == DagRun.dag_id, TaskInstance.run_id == DagRun.run_id)
    schedulable = or_(TaskInstance.state.is_(None), TaskInstance.state.in_(TIMED))
    # by the version, which has an index of its DAG's id
    edited = (
        exists()
        .where(SerializedDagModel.dag_version_id == DagVersion.id)
        .where(DagVersion.dag_id == DagRun.dag_id)
        .where(SerializedDagModel.last_updated > DagRun.last_scheduling_decision)
    )
    return select(DagRun.id).where(
        DagRun.id.in_(ids),
        ~exists().where(of_run, schedulable),
        exists().where(of_run, TaskInstance.state.in_(_UNFINISHED)),
        ~edited,
    )
