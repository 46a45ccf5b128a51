"""airlane's executor in this process, on servers of the test's own, and workloads to give it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock
from uuid import uuid4

import redis
from airflow.executors.workloads import BundleInfo, ExecuteCallback, ExecuteTask
from airflow.executors.workloads.callback import CallbackDTO, CallbackFetchMethod
from airflow.executors.workloads.task import TaskInstanceDTO
from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
from airflow.models.dag_version import DagVersion
from airflow.models.dagrun import DagRun
from airflow.models.pool import Pool
from airflow.providers.celery.executors import celery_executor_utils

from airflow_config import scheduler_loop
from airflow_config.executor import AirlaneExecutor

#: What `start` puts others in the place of.
_REPLACED: tuple[tuple[type, str], ...] = (
    (SchedulerJobRunner, "_do_scheduling"),
    (SchedulerJobRunner, "_create_dagruns_for_dags"),
    (SchedulerJobRunner, "_start_queued_dagruns"),
    (SchedulerJobRunner, "_executable_task_instances_to_queued"),
    (DagRun, "get_running_dag_runs_to_examine"),
    (DagRun, "get_queued_dag_runs_to_set_running"),
    (Pool, "slots_stats"),
    (DagVersion, "get_latest_version"),
)
_STOCK = {(owner, name): owner.__dict__[name] for owner, name in _REPLACED}


@contextmanager
def celery_on(address: str) -> Iterator[None]:
    """Have executors that are made in the block send to this Redis server, and read from it."""
    from workers.celery_config import CELERY_CONFIG

    settings = {
        "AIRFLOW__CELERY__BROKER_URL": address,
        "AIRFLOW__CELERY__RESULT_BACKEND": address,
        "AIRFLOW__CELERY__SYNC_PARALLELISM": "1",
        "AIRFLOW__CELERY__CELERY_CONFIG_OPTIONS": "workers.celery_config.CELERY_CONFIG",
    }
    addresses = {"broker_url": address, "result_backend": address}
    with mock.patch.dict(os.environ, settings), mock.patch.dict(CELERY_CONFIG, addresses):
        # Airflow keeps the app that sends for the life of the process.
        celery_executor_utils._get_celery_app_for_workload.cache_clear()
        try:
            yield
        finally:
            celery_executor_utils._get_celery_app_for_workload.cache_clear()


@contextmanager
def stock_afterwards() -> Iterator[None]:
    """Put Airflow's own functions back when the block ends."""
    try:
        yield
    finally:
        scheduler_loop.withdraw()


def replaced() -> list[str]:
    """Return which of Airflow's functions are not its own now."""
    return [name for (owner, name), stock in _STOCK.items() if owner.__dict__[name] is not stock]


def task_workload(
    task_id: str = "t",
    *,
    queue: str = "batch",
    weight: int = 1,
    celery_id: str | None = None,
    ti_id: str | None = None,
    run_id: str = "r",
) -> ExecuteTask:
    """Return the workload of a task, as the scheduler makes it."""
    return ExecuteTask(
        ti=TaskInstanceDTO(
            id=ti_id or str(uuid4()),
            dag_version_id=str(uuid4()),
            task_id=task_id,
            dag_id="d",
            run_id=run_id,
            try_number=1,
            map_index=-1,
            pool_slots=1,
            queue=queue,
            priority_weight=weight,
            external_executor_id=celery_id or str(uuid4()),
        ),
        dag_rel_path=Path("d.py"),
        token="t",
        log_path=f"{run_id}/{task_id}.log",
        bundle_info=BundleInfo(name="dags-folder"),
    )


def callback_workload(callback_id: str, **data: Any) -> ExecuteCallback:
    """Return the workload of a deadline's callback."""
    return ExecuteCallback(
        callback=CallbackDTO(
            id=callback_id,
            fetch_method=CallbackFetchMethod.IMPORT_PATH,
            data={"path": "d.callback", "kwargs": {}, **data},
        ),
        dag_rel_path=Path("d.py"),
        token="t",
        log_path=f"callbacks/{callback_id}",
        bundle_info=BundleInfo(name="dags-folder"),
    )


def give(executor: AirlaneExecutor, *workloads: ExecuteTask | ExecuteCallback) -> None:
    """Hand workloads over, as the scheduler's critical section does."""
    for workload in workloads:
        executor.queue_workload(workload, session=None)  # type: ignore[arg-type] # unused there


def messages(broker: redis.Redis, queue: str) -> list[dict[str, Any]]:
    """Return the messages of a queue in the order in which a worker takes them."""
    waiting: Any = broker.lrange(queue, 0, -1)
    return [json.loads(message) for message in reversed(waiting)]


def end_in_celery(executor: AirlaneExecutor, celery_id: str | None, state: str) -> None:
    """Write a result as a worker does."""
    result = RuntimeError("no") if state in {"FAILURE", "RETRY", "REVOKED"} else None
    executor.celery_app.backend.store_result(celery_id, result, state)
