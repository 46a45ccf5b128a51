"""Tasks that wait to be queued, and Airflow's own way to queue them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
from airflow.models.pool import Pool
from hypothesis import strategies as st

from tests.metadata_database import insert_task

POOLS = {"onboarding": 3, "control": 2, "batch": 4}
#: DAG -> active tasks that a run of it may have.
DAGS = {"onboarding": 16, "rescore": 2, "paused": 16}
RUNS = [(dag_id, f"{dag_id}-{number}") for dag_id in DAGS for number in range(2)]

STOCK_QUEUE = SchedulerJobRunner._executable_task_instances_to_queued
STOCK_STATS: Callable[..., Any] = Pool.slots_stats


@dataclass(frozen=True)
class Task:
    run: tuple[str, str]
    pool: str = "batch"
    slots: int = 1
    state: str = "scheduled"
    #: -1: not mapped.
    index: int = -1


TASKS = st.builds(
    Task,
    run=st.sampled_from(RUNS),
    pool=st.sampled_from([*POOLS, "batch", "batch", "batch"]),
    slots=st.sampled_from([1, 1, 1, 2, 5]),
    state=st.sampled_from([*["scheduled"] * 6, "queued", "running", "deferred"]),
    index=st.sampled_from([-1, -1, 0, 1, 7]),
)


def fill(writer: psycopg.Connection, tasks: list[Task], priorities: list[int]) -> None:
    """Put these tasks in the place of all others; the first is the oldest."""
    writer.execute("DELETE FROM task_instance")
    for number, (task, priority) in enumerate(zip(tasks, priorities, strict=True)):
        dag_id, run_id = task.run
        insert_task(
            *(writer, f"t{number}", run_id, task.state, dag_id, priority),
            **{"id": UUID(int=number), "map_index": task.index},
            **{"pool": task.pool, "pool_slots": task.slots},
        )
