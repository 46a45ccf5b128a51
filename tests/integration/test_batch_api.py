"""Tasks of the default queue speak to an API server of their own, where there is one."""

from __future__ import annotations

from tests.execution_api_double import ExecutionApiDouble
from tests.integration.task_worker import LENT_MODEL, task_worker

TASKS = """\
from airflow.sdk import DAG, task
with DAG("tasks"):
    @task
    def step():
        return 1
    step()
"""


def test_a_task_of_the_default_queue_speaks_to_its_own_server(tmp_path, valkey_url) -> None:
    with ExecutionApiDouble() as batch_api:
        server = {"AIRLANE_BATCH_API": f"{batch_api.url}/execution/"}
        files = {"tasks.py": TASKS}
        with task_worker(tmp_path / "worker", valkey_url, files, variables=server) as worker:
            # Known to both servers, as both have one database.
            worker.api.tasks = batch_api.tasks
            task = worker.run("tasks.py", "step")
    assert task.state == "success"
    assert [call.path.rsplit("/", 1)[1] for call in batch_api.calls][-1] == "state"
    assert worker.api.calls == []


def test_an_urgent_task_on_a_lent_worker_speaks_to_the_first_server(tmp_path, valkey_url) -> None:
    with ExecutionApiDouble() as batch_api:
        server = {"AIRLANE_BATCH_API": f"{batch_api.url}/execution/"}
        files = {"tasks.py": TASKS.replace("@task", '@task(queue="urgent")')}
        with task_worker(
            tmp_path / "worker", valkey_url, files, variables=server, model=LENT_MODEL
        ) as worker:
            task = worker.run("tasks.py", "step", queue="urgent")
            assert task.state == "success", worker.log_of(task)
            assert worker.api.calls
    assert batch_api.calls == []


def test_a_task_goes_on_when_nobody_listens_there(tmp_path, valkey_url) -> None:
    away = {"AIRLANE_BATCH_API": "http://127.0.0.1:9/execution/"}
    files = {"tasks.py": TASKS}
    with task_worker(tmp_path / "worker", valkey_url, files, variables=away) as worker:
        task = worker.run("tasks.py", "step")
    assert task.state == "success", worker.log_of(task)
