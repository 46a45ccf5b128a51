"""A task as Airflow's executor sends it, with a token."""

from __future__ import annotations

import subprocess
import sys
from uuid import uuid4

from airflow.executors.workloads import ExecuteTask
from airflow.executors.workloads.base import BundleInfo
from airflow.executors.workloads.task import TaskInstanceDTO

from airflow_config.place import ROOT

#: Shaped like the JWT that Airflow makes: three parts with dots between.
TOKEN = "eyJhbGciOiJIUzUxMiJ9.eyJzdWIiOiIwMTk4In0.c2lnbmF0dXJl"
#: What is said of `workload()`.
DESCRIPTION = "(onboarding.score run=signup-1 try=1)"
#: Sends what it reads with Airflow's own app, as its executor does.
_SEND = """
import sys
from airflow.providers.celery.executors.celery_executor_utils import execute_workload
execute_workload.apply_async(args=[sys.stdin.read()], queue="onboarding")
"""


def workload(**changes: object) -> ExecuteTask:
    """Return the workload of a step of a sign-up, with changes of its task."""
    task = {
        "id": uuid4(),
        "dag_version_id": uuid4(),
        "task_id": "score",
        "dag_id": "onboarding",
        "run_id": "signup-1",
        "try_number": 1,
        "map_index": -1,
        "pool_slots": 1,
        "queue": "onboarding",
        "priority_weight": 100_000,
        **changes,
    }
    return ExecuteTask(
        ti=TaskInstanceDTO.model_validate(task),
        dag_rel_path="onboarding.py",
        token=TOKEN,
        log_path="dag_id=onboarding/attempt=1.log",
        bundle_info=BundleInfo(name="dags-folder"),
    )


def send(environment: dict[str, str]) -> None:
    """Send `workload()` to the queue `onboarding`, from a process with this environment."""
    subprocess.run(
        [sys.executable, "-c", _SEND],
        input=workload().model_dump_json(),
        text=True,
        env=environment,
        cwd=ROOT,
        check=True,
        timeout=120,
    )
