"""Batch tasks of a worker that gives way leave the processor to whoever else wants it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.integration.task_worker import LENT_MODEL, TaskWorker, task_worker

TASKS = """\
import os
from airflow.sdk import DAG, task
with DAG("tasks"):
    @task
    def batch():
        return os.sched_getscheduler(0)
    @task(queue="urgent")
    def urgent():
        return os.sched_getscheduler(0)
    batch(), urgent()
"""


def policy(worker: TaskWorker, task_id: str, queue: str) -> int:
    task = worker.run("tasks.py", task_id, queue=queue)
    assert task.state == "success", worker.log_of(task)
    return int(task.xcoms["return_value"])


def test_batch_tasks_give_way_and_urgent_ones_on_the_same_slot_do_not(
    tmp_path: Path, valkey_url: str
) -> None:
    files = {"tasks.py": TASKS}
    yields = ("nice", "-n", "10")
    with task_worker(
        tmp_path / "worker", valkey_url, files, model=LENT_MODEL, before=yields
    ) as worker:
        for _ in range(2):
            assert policy(worker, "batch", "work") == os.SCHED_IDLE
            assert policy(worker, "urgent", "urgent") == os.SCHED_OTHER


@pytest.mark.skipif(os.nice(0) > 0, reason="a worker that is started here gives way already")
def test_tasks_of_a_worker_that_does_not_give_way_do_not_either(
    tmp_path: Path, valkey_url: str
) -> None:
    with task_worker(tmp_path / "worker", valkey_url, {"tasks.py": TASKS}) as worker:
        assert policy(worker, "batch", "work") == os.SCHED_OTHER
