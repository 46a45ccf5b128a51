"""The executor and a real worker: what ran comes back, what is revoked never runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from airflow.executors.workloads import ExecuteTask
from airflow.models.taskinstancekey import TaskInstanceKey
from airflow.utils.state import TaskInstanceState

from airflow_config.executor import AirlaneExecutor
from tests.execution_api_double import Task
from tests.executors import celery_on, give
from tests.integration.task_worker import TaskWorker, task_worker
from tests.servers import wait_until

STEPS = """\
import time
from pathlib import Path
from airflow.sdk import dag, task

GATE = Path(__file__).with_name("gate")

@dag(schedule=None)
def steps():
    @task
    def good():
        return 1

    @task
    def bad():
        raise ValueError("no")

    @task
    def waits():
        while not GATE.exists():
            time.sleep(0.02)

    good(), bad(), waits()

steps()
"""
SUCCESS, FAILED = TaskInstanceState.SUCCESS, TaskInstanceState.FAILED


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory, valkey_url: str) -> Iterator[TaskWorker]:
    """A worker that runs one task at a time."""
    with task_worker(tmp_path_factory.mktemp("worker"), valkey_url, {"steps.py": STEPS}) as found:
        yield found


@pytest.fixture
def executor(worker: TaskWorker, valkey_url: str) -> Iterator[AirlaneExecutor]:
    with celery_on(valkey_url):
        yield AirlaneExecutor(parallelism=8)


def send(executor: AirlaneExecutor, worker: TaskWorker, task: Task) -> TaskInstanceKey:
    """Have a task sent, as the scheduler does; return its key."""
    message = worker.api.workload(task, "steps.py", "work", "t")
    workload = ExecuteTask.model_validate_json(message)
    workload.ti.external_executor_id = str(uuid4())
    give(executor, workload)
    executor.heartbeat()
    return workload.key


def ends(executor: AirlaneExecutor, *keys: TaskInstanceKey) -> dict[Any, Any]:
    """Await what the scheduler is told of the end of tasks."""
    told: dict[Any, Any] = {}

    def all_ended() -> bool:
        executor.heartbeat()
        for key, (state, _) in executor.get_event_buffer().items():
            if state != TaskInstanceState.QUEUED:
                assert key not in told, "told twice"
                told[key] = state
        return set(keys) <= set(told)

    wait_until(all_ended, "the ends to be told")
    return told


def test_the_end_of_a_task_comes_back(executor: AirlaneExecutor, worker: TaskWorker) -> None:
    good = worker.api.add("steps", "good", "r1")
    bad = worker.api.add("steps", "bad", "r1")
    keys = [send(executor, worker, task) for task in (good, bad)]
    # Whether the task succeeded is told by the task itself; the executor says that it ended.
    assert ends(executor, *keys) == dict.fromkeys(keys, SUCCESS)
    assert (good.state, bad.state) == ("success", "failed")
    assert not executor.running
    assert not executor.workloads


def test_a_task_that_could_not_begin_is_told_as_failed(
    executor: AirlaneExecutor, worker: TaskWorker
) -> None:
    stranger = worker.api.add("steps", "good", "r2")
    # cleared meanwhile, or its run deleted: the API server does not know it
    del worker.api.tasks[stranger.id]
    key = send(executor, worker, stranger)
    assert ends(executor, key) == {key: FAILED}


def test_a_message_that_was_revoked_never_runs(
    executor: AirlaneExecutor, worker: TaskWorker
) -> None:
    waits, revoked, last = (
        worker.api.add("steps", name, "r3") for name in ("waits", "good", "bad")
    )
    first = send(executor, worker, waits)
    wait_until(lambda: waits.state == "running", "the worker to be busy")
    key = send(executor, worker, revoked)
    assert key in executor.running
    ti: Any = SimpleNamespace(key=key, id=key)
    executor.revoke_task(ti=ti)
    assert key not in executor.running
    third = send(executor, worker, last)
    Path(worker.dags / "gate").touch()
    assert ends(executor, first, third) == {first: SUCCESS, third: SUCCESS}
    assert revoked.state == "queued", "it ran"
    assert not worker.api.calls_of(revoked)
