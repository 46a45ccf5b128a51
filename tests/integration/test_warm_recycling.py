"""Celery processes are replaced after a number of tasks or by age, and no task is lost by it."""

from __future__ import annotations

import pytest

from tests.integration.task_worker import task_worker

DAG = """\
import os
from airflow.sdk import DAG, task
with DAG("pids"):
    @task
    def parent():
        return os.getppid()
    parent()
"""


@pytest.mark.parametrize(("config", "most"), [("recycling_config", 3), ("aging_config", 1)])
def test_replaced_processes_lose_no_task(tmp_path, redis_url, config, most):
    extra = {"celery": {"celery_config_options": f"tests.integration.{config}.CELERY_CONFIG"}}
    with task_worker(tmp_path, redis_url, {"pids.py": DAG}, 2, extra=extra) as worker:
        tasks = [worker.send("pids.py", "parent") for _ in range(20)]
        worker.api.wait_for(*tasks)
        assert {task.state for task in tasks} == {"success"}
        starts = [call for call in worker.api.calls if call.path.endswith("/run")]
        assert len(starts) == len(tasks)
        parents = [task.xcoms["return_value"] for task in tasks]
        assert max(parents.count(parent) for parent in parents) <= most
        assert len(set(parents)) >= 20 / most
