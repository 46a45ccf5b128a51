"""The scheduler's critical section when everything that waits can go: a short way to its result.

Airflow's `SchedulerJobRunner._executable_task_instances_to_queued` (3.3.2) builds and sends eight
statements to find which waiting tasks may be queued. A step of an urgent run nearly always is one
task that waits, with slots free. Then the answer needs no ranking: one statement counts what
waits and what is free, and when all of it fits, all of it goes. When there is any doubt (more
waits than fits, a DAG limits its tasks by themselves, a task names an executor), nothing is
decided here and Airflow's function does it, in the same transaction.

The locks are Airflow's: its advisory lock, and the rows of the pools without waiting.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow._shared.observability.metrics import stats
from airflow.models.dag import DagModel
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance as TI  # noqa: N817 - Airflow's own short name
from airflow.utils.db import DBLocks
from airflow.utils.sqlalchemy import random_db_uuid
from airflow.utils.state import DagRunState, TaskInstanceState
from sqlalchemy import ARRAY, Uuid, any_, bindparam, select, text, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import contains_eager, make_transient

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

#: Waiting tasks of a pool that are looked at; when there are as many, Airflow's function ranks.
MOST = 32

_LOCK = text("SELECT pg_try_advisory_xact_lock(:id)")
# After the lock, as a statement of its own: it must see what its last holder has committed.
_LOOK = text(
    """
    WITH pools AS MATERIALIZED (
        SELECT pool, slots, include_deferred FROM slot_pool FOR NO KEY UPDATE NOWAIT
    ), waiting AS MATERIALIZED (
        SELECT first.* FROM unnest(CAST(:pools AS text[])) AS open(pool) CROSS JOIN LATERAL (
            SELECT id, pool, pool_slots, dag_id, run_id, executor FROM task_instance AS ti
            WHERE ti.state = 'scheduled' AND ti.pool = open.pool
            ORDER BY ti.priority_weight DESC, ti.id
            LIMIT :most
        ) AS first
    ), taken AS MATERIALIZED (
        SELECT pool, sum(pool_slots) FILTER (WHERE state <> 'deferred') AS executing,
            sum(pool_slots) FILTER (WHERE state = 'deferred') AS deferred
        FROM task_instance WHERE state IN ('running', 'queued', 'deferred') GROUP BY pool
    )
    SELECT pools.pool, pools.slots,
        coalesce(executing, 0) + CASE WHEN include_deferred THEN coalesce(deferred, 0) ELSE 0 END,
        waiting.id, waiting.pool_slots, waiting.dag_id, waiting.run_id, waiting.executor,
        dag_run.state = 'running' AND NOT dag.is_paused AND dag.bundle_name IS NOT NULL,
        dag.max_active_tasks, dag.has_task_concurrency_limits,
        (
            SELECT count(*) FROM task_instance AS active
            WHERE active.dag_id = waiting.dag_id AND active.run_id = waiting.run_id
                AND active.state IN ('running', 'queued')
        )
    FROM pools
    LEFT JOIN taken USING (pool)
    LEFT JOIN waiting USING (pool)
    LEFT JOIN dag_run ON dag_run.dag_id = waiting.dag_id AND dag_run.run_id = waiting.run_id
    LEFT JOIN dag ON dag.dag_id = waiting.dag_id
    """
)
_IDS = bindparam("ids", type_=ARRAY(Uuid()))
# What Airflow's own query gives: with the run and the DAG, which the message names.
_TASKS = (
    select(TI)
    .join(TI.dag_run)
    .join(TI.dag_model)
    .where(
        TI.id == any_(_IDS),
        TI.state == TaskInstanceState.SCHEDULED,
        DagRun.state == DagRunState.RUNNING,
        ~DagModel.is_paused,
    )
    .order_by(-TI.priority_weight, DagRun.logical_date, TI.map_index)
    .options(contains_eager(TI.dag_run), contains_eager(TI.dag_model))
    .with_for_update(of=TI, skip_locked=True, key_share=True)
)
_TABLE: Any = TI.__table__
_QUEUE = (
    update(_TABLE)
    .where(_TABLE.c.id == any_(_IDS))
    .values(
        state=TaskInstanceState.QUEUED,
        queued_dttm=bindparam("now"),
        queued_by_job_id=bindparam("job"),
    )
)
_QUEUE_WITH_ID = _QUEUE.values(external_executor_id=random_db_uuid()).returning(
    _TABLE.c.id, _TABLE.c.external_executor_id
)


def queue(
    runner: Any, max_tis: int, session: Session, pools: Collection[str], examined: Collection[str]
) -> list[TI] | None:
    """Queue all that waits in some pools; None when it takes Airflow's function to decide.

    Parameters
    ----------
    runner
        The scheduler.
    max_tis
        Tasks to take at most.
    session
        Its session.
    pools
        All pools, as they were when Airflow looked last.
    examined
        Those to look at.
    """
    executor = runner.executors[0]
    if runner._multi_team or len(runner.executors) > 1 or executor is not runner.executor:
        return None
    if not session.scalar(_LOCK, {"id": DBLocks.SCHEDULER_CRITICAL_SECTION.value}):
        # As Airflow tells it: somebody else is in the critical section.
        raise OperationalError(
            "Failed to acquire advisory lock", params=None, orig=RuntimeError("55P03")
        )
    rows = session.execute(_LOOK, {"pools": list(examined), "most": MOST}).all()
    if {row[0] for row in rows} != set(pools):
        return None
    most = min(max_tis, executor.slots_available)
    ids = _all_that_waits(rows, most)
    if ids is None:
        return None
    return _queued(runner, session, ids)


def _all_that_waits(rows: Sequence[Any], most: int) -> list[Any] | None:
    """Return the tasks that wait; None when not each of them can be seen to go."""
    seen: Counter[str] = Counter()
    free: dict[str, float] = {}
    of_run: Counter[tuple[str, str]] = Counter()
    ids = []
    for pool, slots, taken, id_, wanted, dag_id, run_id, executor, runs, limit, own, active in rows:
        left = free.setdefault(pool, float("inf") if slots == -1 else slots - int(taken))
        if id_ is None or (left <= 0 and not seen[pool]):
            # Nothing waits, or the pool was full before: not a matter of who comes first.
            continue
        seen[pool] += 1
        if seen[pool] >= MOST:
            return None
        if not runs:
            continue
        free[pool] -= wanted
        of_run[dag_id, run_id] += 1
        ids.append(id_)
        fits = free[pool] >= 0 and active + of_run[dag_id, run_id] <= limit
        if not fits or wanted < 1 or own or executor is not None or len(ids) > most:
            return None
    return ids


def _queued(runner: Any, session: Session, ids: list[Any]) -> list[TI]:
    """Set tasks to queued as Airflow does, and return them."""
    tasks: list[TI] = list(session.scalars(_TASKS, {"ids": ids})) if ids else []
    stats.gauge("scheduler.tasks.starving", 0)
    stats.gauge("scheduler.tasks.executable", len(tasks))
    if not tasks:
        return tasks
    runner.log.info(
        "Setting the following tasks to queued state (scheduler job_id=%s):\n%s",
        runner.job.id,
        "\n".join(f"\t{ti!r} (id={ti.id}, try_number={ti.try_number})" for ti in tasks),
    )
    values = {"ids": [ti.id for ti in tasks], "now": datetime.now(UTC), "job": runner.job.id}
    connection = session.connection()
    if runner.executor.pre_assigns_external_executor_id:
        given = {row[0]: row[1] for row in connection.execute(_QUEUE_WITH_ID, values)}
        for ti in tasks:
            ti.external_executor_id = given.get(ti.id)
    else:
        connection.execute(_QUEUE, values)
    for ti in tasks:
        ti.emit_state_change_metric(TaskInstanceState.QUEUED)
        make_transient(ti)
    return tasks
