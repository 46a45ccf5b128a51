"""What the scheduler's look at one run asks of the database, without what it knows already.

Read from Airflow 3.3.2, where `SchedulerJobRunner._schedule_dag_run` looks at a run:

- `DagRun._get_ready_tis` reads the tasks that are not ready once more, to see whether a look at
  their dependencies changed one. The session has them all, and answers with what it has.
- `MappedTaskUpstreamDep` reads, for each instance of a mapped task anew, the upstream tasks that it
  is mapped over: 1,000 times the same for a run of 1,000. It is read once for each task and look.
- `TaskInstance.get_dagrun` reads the run once more for each instance that was just mapped.
- `DagRun.check_version_id_exists_in_dr` asks each time whether a run has tasks of its DAG's newest
  version. It has, once it had.
- `SchedulerJobRunner._schedule_all_dag_runs` commits what was scheduled, waiting for the disk;
  the tasks are queued and committed next. What PostgreSQL writes is in order, so the second wait
  is enough: there is no queued task whose scheduling is lost. When a run ended, both wait.

`WRAPS` is put in place by `scheduler_loop`, when `scheduler_fit` finds Airflow as it was read.
"""

from __future__ import annotations

import functools
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.serialization.definitions.mappedoperator import is_mapped
from airflow.ti_deps.deps.mapped_task_upstream_dep import MappedTaskUpstreamDep
from airflow.utils.state import State, TaskInstanceState
from sqlalchemy import select

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

#: The owner of a function, its name, and what wraps it.
Wrap = tuple[Any, str, Callable[[Any], Any]]

#: Seconds for which it is remembered that a run has tasks of a version, and runs remembered.
KNOWN, _REMEMBERED = 60.0, 20_000


@dataclass
class _Look:
    """What a look at the dependencies of a run's tasks knows."""

    run: DagRun
    #: The states that tasks had before.
    before: dict[Any, Any] = field(default_factory=dict)
    #: What mapped tasks are mapped over, by their ids.
    upstreams: dict[str, list[TaskInstance]] = field(default_factory=dict)


_look: ContextVar[_Look | None] = ContextVar("airlane_look", default=None)


def _tasks_filter(stock: Callable[[Any], Any]) -> Any:
    """Wrap `TaskInstance.filter_for_tis`: no filter for what `_get_ready_tis` need not read."""

    def filter_for_tis(tis: Any) -> Any:
        look = _look.get()
        if look is None or not isinstance(tis, dict):
            return stock(tis)
        look.before.update(tis)
        return None

    return staticmethod(functools.wraps(stock)(filter_for_tis))


def _ready_tasks(stock: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap `DagRun._get_ready_tis`."""

    @functools.wraps(stock)
    def get_ready_tis(
        run: DagRun, schedulable_tis: list[TaskInstance], finished_tis: Any, session: Session
    ) -> tuple[list[TaskInstance], bool, bool]:
        look = _Look(run)
        token = _look.set(look)
        try:
            ready, changed, expanded = stock(run, schedulable_tis, finished_tis, session)
        finally:
            _look.reset(token)
        # Tasks that were added are not among these; then the caller takes all for changed.
        changed = changed or any(
            ti.state != look.before[ti.key] for ti in schedulable_tis if ti.key in look.before
        )
        return ready, changed, expanded

    return get_ready_tis


def _mapped_upstreams(stock: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap `MappedTaskUpstreamDep._get_dep_statuses`: it decides when an upstream went wrong."""

    @functools.wraps(stock)
    def statuses(
        dep: Any, ti: TaskInstance, dep_context: Any, *, session: Session
    ) -> Iterator[Any]:
        look = _look.get()
        if look is None or ti.task is None or ti.map_index < 0:
            return iter(stock(dep, ti, dep_context, session=session))
        if ti.task_id not in look.upstreams:
            look.upstreams[ti.task_id] = _mapped_over(ti, session)
        # The session's own objects: what this look has changed of them is seen.
        found = {above.state for above in look.upstreams[ti.task_id] if above.map_index == -1}
        if found.intersection(State.finished) <= {TaskInstanceState.SUCCESS}:
            return iter(())
        return iter(stock(dep, ti, dep_context, session=session))

    return statuses


def _mapped_over(ti: TaskInstance, session: Session) -> list[TaskInstance]:
    """Return the upstream tasks that a mapped one, or the group around it, is mapped over."""
    task: Any = ti.task
    around = task if is_mapped(task) else task.get_closest_mapped_task_group()
    ids = {above.task_id for above in around.iter_mapped_dependencies()} if around else set()
    if not ids:
        return []
    query = select(TaskInstance).where(
        TaskInstance.dag_id == ti.dag_id,
        TaskInstance.run_id == ti.run_id,
        TaskInstance.task_id.in_(ids),
        TaskInstance.map_index == -1,
    )
    return list(session.scalars(query))


def _run_of_task(stock: Callable[..., DagRun]) -> Any:
    """Wrap `TaskInstance._get_dagrun`."""

    def get_dagrun(dag_id: str, run_id: str, session: Session) -> DagRun:
        look = _look.get()
        if look is not None and (look.run.dag_id, look.run.run_id) == (dag_id, run_id):
            return look.run
        return stock(dag_id, run_id, session)

    return staticmethod(functools.wraps(stock)(get_dagrun))


def _version_check(stock: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap `DagRun.check_version_id_exists_in_dr`."""
    known: OrderedDict[tuple[int, Any], float] = OrderedDict()

    @functools.wraps(stock)
    def check(run: DagRun, dag_version_id: Any, **others: Any) -> Any:
        key, now = (run.id, dag_version_id), time.monotonic()
        if now - known.get(key, float("-inf")) < KNOWN:
            return dag_version_id
        found = stock(run, dag_version_id, **others)
        known.pop(key, None)
        if found:
            known[key] = now
            while len(known) > _REMEMBERED:
                known.popitem(last=False)
        return found

    return check


class _Followed:
    """A guard of commits whose commit does not wait for the disk when no run has ended."""

    def __init__(self, guard: Any, runs: Iterable[DagRun], session: Session) -> None:
        self._guard, self._runs, self._session = guard, runs, session

    def commit(self) -> None:
        if not any(run.state in State.finished_dr_states for run in self._runs):
            self._session.connection().exec_driver_sql("SET LOCAL synchronous_commit = off")
        self._guard.commit()


def _examination(stock: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap `SchedulerJobRunner._schedule_all_dag_runs`."""

    @functools.wraps(stock)
    def schedule_all(runner: Any, guard: Any, dag_runs: list[DagRun], session: Session) -> Any:
        # Without runs there is no transaction, and nothing to commit.
        if dag_runs:
            guard = _Followed(guard, dag_runs, session)
        return stock(runner, guard, dag_runs, session)

    return schedule_all


WRAPS: tuple[Wrap, ...] = (
    (SchedulerJobRunner, "_schedule_all_dag_runs", _examination),
    (DagRun, "_get_ready_tis", _ready_tasks),
    (MappedTaskUpstreamDep, "_get_dep_statuses", _mapped_upstreams),
    (DagRun, "check_version_id_exists_in_dr", _version_check),
    (TaskInstance, "filter_for_tis", _tasks_filter),
    (TaskInstance, "_get_dagrun", _run_of_task),
)
