"""Parts that only load airlane's executor are left as they are."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from airflow_config.place import ROOT

LOADED = """
import sys
from airflow.executors.executor_loader import ExecutorLoader
{code}
found = [name for name in ("airflow_config.scheduler_loop", "airflow.jobs.scheduler_job_runner")
         if name in sys.modules]
assert not found, found
"""


@pytest.mark.parametrize(
    "code",
    [
        "ExecutorLoader.import_default_executor_cls()",
        "ExecutorLoader.get_default_executor().heartbeat()",
    ],
    ids=["class", "instance"],
)
def test_loading_it_touches_no_scheduler(redis_url: str, code: str, tmp_path: Any) -> None:
    """The API server, the DAG processor and the workers load it and never start it."""
    environment = {
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__EXECUTOR": "airflow_config.executor.AirlaneExecutor",
        "AIRFLOW__CELERY__BROKER_URL": redis_url,
        "AIRFLOW__CELERY__RESULT_BACKEND": redis_url,
    }
    done = subprocess.run(
        [sys.executable, "-c", LOADED.format(code=code)],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.returncode, done.stderr[-3000:]
