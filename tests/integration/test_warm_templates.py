"""Processes of tasks are forked ahead by a template; whatever happens to it costs no task."""

from __future__ import annotations

import signal

import psutil
import pytest

from tests.integration.task_worker import TaskWorker, task_worker
from tests.servers import wait_until

TASKS = """\
import os, time
from pathlib import Path
from airflow.sdk import DAG, task

GO = Path(__file__).with_name("go.txt")

with DAG("tasks"):
    @task
    def quick():
        return [os.getpid(), os.getppid()]

    @task
    def waits():
        Path(__file__).with_name("started.txt").touch()
        while not GO.exists():
            time.sleep(0.01)
        return [os.getpid(), os.getppid()]

    @task
    def signals():
        os.kill(os.getpid(), 9)

    quick(), waits(), signals()
"""


@pytest.fixture(scope="module")
def worker(tmp_path_factory, valkey_url):
    with task_worker(tmp_path_factory.mktemp("worker"), valkey_url, {"tasks.py": TASKS}) as found:
        yield found


def below(worker: TaskWorker) -> list[psutil.Process]:
    return psutil.Process(worker.process.pid).children(recursive=True)


def run(worker: TaskWorker, name: str = "quick") -> list[int]:
    task = worker.run("tasks.py", name)
    assert task.state == "success", worker.log_of(task)
    return task.xcoms["return_value"]


def test_tasks_have_a_template_in_common_and_no_process(worker: TaskWorker) -> None:
    (first, template), (second, same) = run(worker), run(worker)
    assert first != second
    assert template == same


def test_a_template_that_was_killed_is_replaced(worker: TaskWorker) -> None:
    _, template = run(worker)
    psutil.Process(template).send_signal(signal.SIGKILL)
    assert run(worker)[1] != template


def test_a_task_goes_on_without_its_template(worker: TaskWorker) -> None:
    _, template = run(worker)
    task = worker.send("tasks.py", "waits")
    wait_until((worker.dags / "started.txt").exists, "the task to run")
    psutil.Process(template).send_signal(signal.SIGKILL)
    (worker.dags / "go.txt").touch()
    worker.api.wait_for(task)
    assert task.state == "success"
    assert run(worker)[1] != template


def test_a_task_that_kills_itself_says_so_as_airflow_does(worker: TaskWorker) -> None:
    task = worker.run("tasks.py", "signals")
    assert task.state == "failed"
    (line,) = [line for line in worker.log_of(task) if "signal_name" in line]
    assert line["signal_name"] == "SIGKILL"
    assert "terminated by signal" in str(line["event"])
    run(worker)


def test_nothing_outlives_a_worker(worker: TaskWorker) -> None:
    run(worker)
    wait_until(lambda: len(below(worker)) == 3, "Celery's process, the template and the spare")
    processes = below(worker)
    worker.process.send_signal(signal.SIGTERM)
    worker.process.wait(60)
    wait_until(lambda: not any(process.is_running() for process in processes), "all to end")
