"""A real Celery worker of airlane, an execution API that answers it, and a folder of DAG files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from celery import Celery

from airflow_config import settings
from tests.celery_workers import running_worker, worker_environment
from tests.execution_api_double import ExecutionApiDouble, Task
from tests.servers import wait_until

TOKEN = "a-token"
MODEL = """\
queues:
  work: {priority: 1, default: true, task_timeout: 5m%s}
workers:
  work: {home: work, concurrency: %d}
"""
#: As `MODEL`, with a queue of urgent work to which the class lends its slots.
LENT_MODEL = """\
queues:
  work: {priority: 1, default: true, task_timeout: 5m%s}
  urgent:
    priority: 9
    task_timeout: 1m
    promise: {end_to_end: 3m, task: 1m, gap: 3s}
    retries: {max_delay: 1m}
workers:
  urgent: {home: urgent, concurrency: 1}
  work: {home: work, lends_to: [urgent], concurrency: %d}
"""


@dataclass
class TaskWorker:
    """A running worker, and how to give it tasks."""

    api: ExecutionApiDouble
    dags: Path
    folder: Path
    log: Path
    celery: Celery
    process: subprocess.Popen[bytes]
    _numbers: count[int] = field(default_factory=lambda: count(1))

    def send(self, file: str, task_id: str, token: str = TOKEN, queue: str = "work") -> Task:
        """Send a task of a DAG file (the DAG is named like the file), as the executor does."""
        task = self.api.add(file.removesuffix(".py"), task_id, f"r{next(self._numbers)}")
        workload = self.api.workload(task, file, queue, token)
        self.celery.send_task("execute_workload", args=[workload], queue=queue)
        return task

    def run(self, file: str, task_id: str, token: str = TOKEN, queue: str = "work") -> Task:
        """Send a task and await its end."""
        task = self.send(file, task_id, token, queue)
        self.api.wait_for(task)
        return task

    def log_of(self, task: Task) -> list[dict[str, object]]:
        """Return the lines of a task's log."""
        file = self.folder / "tasks" / task.run_id / f"{task.task_id}.log"
        return [json.loads(line) for line in file.read_text().splitlines()]


@contextmanager
def task_worker(
    folder: Path,
    redis_url: str,
    files: dict[str, str],
    concurrency: int = 1,
    queue_keys: str = "",
    extra: settings.Settings | None = None,
    variables: dict[str, str] | None = None,
    model: str = MODEL,
    before: Sequence[str] = (),
) -> Iterator[TaskWorker]:
    """Run a worker on DAG files until the block ends; then nothing of it is left."""
    dags = folder / "dags"
    dags.mkdir(parents=True)
    for name, text in files.items():
        (dags / name).parent.mkdir(exist_ok=True, parents=True)
        (dags / name).write_text(text)
    queues_file = folder / "queues.yaml"
    queues_file.write_text(model % (queue_keys, concurrency))
    with ExecutionApiDouble() as api:
        environment = _environment(folder, redis_url, queues_file, api, dags, extra or {})
        environment |= variables or {}
        log = folder / "worker.log"
        with running_worker(environment, "worker-work", log, before) as process:
            ready = lambda: process.poll() is not None or " ready." in log.read_text()  # noqa: E731
            wait_until(ready, "the worker to be ready", 180)
            assert process.poll() is None, log.read_text()[-3000:]
            celery = Celery(broker=redis_url, backend=redis_url)
            yield TaskWorker(api, dags, folder, log, celery, process)


def _environment(
    folder: Path,
    redis_url: str,
    queues_file: Path,
    api: ExecutionApiDouble,
    dags: Path,
    extra: settings.Settings,
) -> dict[str, str]:
    more = {"core": {"dags_folder": str(dags)}, **extra}
    found = worker_environment(folder, redis_url, queues_file, api_url=api.url, extra=more)
    local = Path(found["AIRFLOW_HOME"]) / "config" / "airflow_local_settings.py"
    local.parent.mkdir()
    local.write_text(settings.local_settings_source())
    return {
        **found,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "LC_ALL": "C.UTF-8",
    }
