"""A task of a real worker that takes more memory than its queue allows fails, alone."""

from __future__ import annotations

import pytest

from tests.integration.task_worker import TaskWorker, task_worker

TASKS = """\
import resource
import subprocess
import sys
import time
from pathlib import Path
from airflow.sdk import DAG, task

MIB = 2**20
TOLD = Path(__file__).with_name("told.txt")

with DAG("memory"):
    @task
    def half():
        return len(bytearray(128 * MIB))

    @task
    def twice():
        return len(bytearray(512 * MIB))

    @task
    def many():
        return len([bytearray(MIB) for _ in range(512)])

    @task
    def array():
        import numpy
        return int(numpy.ones(512 * MIB // 8).sum())

    @task
    def native():
        import os, signal
        os.kill(os.getpid(), signal.SIGABRT)  # what a C++ library does

    @task
    def waits():
        kept = bytearray(128 * MIB)
        while not TOLD.exists():
            time.sleep(0.01)
        return len(kept)

    half(), twice(), many(), array(), native(), waits()
"""


@pytest.fixture(scope="module")
def worker(tmp_path_factory, valkey_url):
    folder = tmp_path_factory.mktemp("worker")
    queue = ", task_memory: 256MiB"
    with task_worker(folder, valkey_url, {"memory.py": TASKS}, 2, queue) as found:
        yield found


def said(worker: TaskWorker, task: object) -> list[str]:
    return [str(line["event"]) for line in worker.log_of(task)]


def test_a_task_within_its_limit_runs(worker: TaskWorker) -> None:
    assert worker.run("memory.py", "half").xcoms["return_value"] == 128 * 2**20


@pytest.mark.parametrize("task_id", ["twice", "many", "array", "native"])
def test_a_task_beyond_its_limit_fails_alone_and_is_told_why(worker, task_id) -> None:
    told = worker.dags / "told.txt"
    told.unlink(missing_ok=True)
    beside = worker.send("memory.py", "waits")
    task = worker.run("memory.py", task_id)
    assert task.state == "failed"
    assert [line for line in said(worker, task) if "may take 256MiB" in line]
    told.touch()
    worker.api.wait_for(beside)
    assert beside.state == "success"
    assert not [line for line in said(worker, beside) if "may take" in line]
