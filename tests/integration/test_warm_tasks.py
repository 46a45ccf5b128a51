"""Tasks of a real worker find everything warm, and no more than what is still true."""

from __future__ import annotations

import pytest

from tests.integration.task_worker import TaskWorker, task_worker

CHAIN = """\
from airflow.sdk import dag, task
from helpers.answer import ANSWER
import os
{top}

@dag(schedule=None)
def chain():
    @task
    def step():
        return [ANSWER, os.getpid(), {value}]
    step()

chain()
"""
BLOCKS = "from airflow.sdk import DAG\nimport time\ntime.sleep(3600)\n"
DIES = "from airflow.sdk import DAG\nimport os\nos._exit(3)\n"
FAILS = "from airflow.sdk import DAG\nraise ValueError('no')\n"
CHANGES = (
    "import os\nfrom airflow.sdk import DAG, task\nos.environ['LEFT'] = 'behind'\n"
    "with DAG('changes'):\n    @task\n    def left():\n        return os.environ['LEFT']\n"
    "    left()\n"
)


@pytest.fixture(scope="module")
def worker(tmp_path_factory, valkey_url):
    files = {
        "chain.py": CHAIN.format(top="", value=1),
        "blocks.py": BLOCKS,
        "changes.py": CHANGES,
        "dies.py": DIES,
        "fails.py": FAILS,
        "helpers/answer.py": "ANSWER = 41\n",
    }
    with task_worker(tmp_path_factory.mktemp("worker"), valkey_url, files) as found:
        (found.dags / ".airflowignore").write_text("helpers/\n")
        yield found


def test_a_task_runs_in_a_process_of_its_own(worker: TaskWorker) -> None:
    first, second = worker.run("chain.py", "step"), worker.run("chain.py", "step")
    assert (first.state, second.state) == ("success", "success")
    assert first.xcoms["return_value"][1] != second.xcoms["return_value"][1]
