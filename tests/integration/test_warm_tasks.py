"""Tasks of a real worker find everything warm, and no more than what is still true."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.task_worker import TaskWorker, task_worker

#: Notes which processes import it, and returns what it and its helper say.
CHAIN = """\
import os
from pathlib import Path
from airflow.sdk import dag, task
from helpers.answer import ANSWER

with Path(__file__).with_name("imports.txt").open("a") as out:
    print(os.getpid(), file=out)

@dag(schedule=None)
def chain():
    @task
    def step():
        return [os.getpid(), VALUE, ANSWER, "LEFT" in os.environ]
    step()

chain()
"""
#: What its import leaves in a process is for its own tasks only.
CHANGES = """\
import os
from airflow.sdk import DAG, task
os.environ["LEFT"] = "behind"
with DAG("changes"):
    @task
    def left():
        return os.environ["LEFT"]
    left()
"""
BLOCKS = "from airflow.sdk import DAG\nimport time\ntime.sleep(3600)\n"
DIES = "from airflow.sdk import DAG\nimport os\nos._exit(3)\n"
FAILS = "from airflow.sdk import DAG\nraise ValueError('no')\n"


@pytest.fixture(scope="module")
def worker(tmp_path_factory, valkey_url):
    files = {
        ".airflowignore": "helpers/\n",
        "blocks.py": BLOCKS,
        "chain.py": CHAIN.replace("VALUE", "1"),
        "changes.py": CHANGES,
        "dies.py": DIES,
        "fails.py": FAILS,
        "helpers/__init__.py": "",
        "helpers/answer.py": "ANSWER = 41\n",
    }
    # A supervisor that waits for nothing would wait for one heartbeat: longer than any deadline.
    extra = {"workers": {"min_heartbeat_interval": "600"}}
    folder = tmp_path_factory.mktemp("worker")
    with task_worker(folder, valkey_url, files, extra=extra) as found:
        yield found


def run(worker: TaskWorker, **other: str) -> list[object]:
    """Run a task and return what it did."""
    task = worker.run("chain.py", "step", **other)
    assert task.state == "success", worker.log_of(task)
    return task.xcoms["return_value"]


def imported_in(worker: TaskWorker) -> list[int]:
    """Return the processes that imported the DAG file."""
    return [int(line) for line in (worker.dags / "imports.txt").read_text().split()]


def change(file: Path, text: str) -> None:
    """Write a file at once, as an editor or a deployment does."""
    new = file.with_suffix(".new")
    new.write_text(text)
    new.replace(file)


def test_each_task_has_a_process_of_its_own(worker: TaskWorker) -> None:
    assert len({run(worker)[0] for _ in range(3)}) == 3


def test_no_task_parses_what_was_parsed_before_the_fork(worker: TaskWorker) -> None:
    tasks = {run(worker)[0] for _ in range(3)}
    assert tasks.isdisjoint(imported_in(worker))


def test_a_slot_is_free_when_its_task_has_ended(worker: TaskWorker) -> None:
    # One that is not would be taken for 600 s, beyond any deadline of this test.
    tasks = [worker.send("chain.py", "step") for _ in range(20)]
    worker.api.wait_for(*tasks)
    assert {task.state for task in tasks} == {"success"}


def test_a_start_is_no_heartbeat(worker: TaskWorker) -> None:
    task = worker.run("chain.py", "step")
    calls = [call.path.rsplit("/", 1)[1] for call in worker.api.calls_of(task)]
    assert calls == ["run", "rtif", "state"]


def test_tasks_share_a_connection_and_no_token(worker: TaskWorker) -> None:
    first = worker.run("chain.py", "step", token="token-1")
    worker.api.refreshed[first.id] = "token-1-fresh"
    second = worker.run("chain.py", "step", token="token-2")
    calls = [worker.api.calls_of(task) for task in (first, second)]
    assert {call.token for call in calls[0]} == {"token-1"}
    assert {call.token for call in calls[1]} == {"token-2"}
    assert len({call.connection for task in calls for call in task}) == 1


def test_a_changed_file_is_parsed_anew_and_then_kept(worker: TaskWorker) -> None:
    change(worker.dags / "chain.py", CHAIN.replace("VALUE", "2"))
    # Their processes parse the file, until that has cost as much as the worker's own parse does.
    while "Parsed chain.py anew" not in worker.log.read_text():
        assert run(worker)[1] == 2
    pid, value, *_ = run(worker)
    assert value == 2
    assert pid not in imported_in(worker)


def test_a_changed_helper_is_loaded_anew(worker: TaskWorker) -> None:
    change(worker.dags / "helpers" / "answer.py", "ANSWER = 42\n")
    assert run(worker)[2] == 42
    assert run(worker)[2] == 42


def test_a_broken_change_fails_nothing_but_its_own_tasks(worker: TaskWorker) -> None:
    good = (worker.dags / "chain.py").read_text()
    before = run(worker)[1]
    change(worker.dags / "chain.py", "import nothing_of_this_name\n")
    assert worker.run("chain.py", "step").state == "up_for_reschedule"
    assert worker.run("changes.py", "left").state == "success"
    change(worker.dags / "chain.py", good)
    assert run(worker)[1] == before


def test_a_file_that_came_later_runs(worker: TaskWorker) -> None:
    later = (
        CHAIN.replace("VALUE", "3").replace("def chain", "def later").replace("chain()", "later()")
    )
    change(worker.dags / "later.py", later)
    task = worker.run("later.py", "step")
    assert task.xcoms["return_value"][1] == 3


def test_what_an_import_changes_is_seen_by_its_own_tasks_only(worker: TaskWorker) -> None:
    task = worker.run("changes.py", "left")
    assert task.xcoms["return_value"] == "behind"
    assert run(worker)[3] is False


@pytest.mark.parametrize(
    ("file", "fault"),
    [
        ("blocks.py", "takes longer than"),
        ("changes.py", "changes: environment"),
        ("dies.py", "ends the process"),
        ("fails.py", "ValueError: no"),
    ],
)
def test_a_file_that_is_not_harmless_is_named_and_stops_nothing(worker, file, fault) -> None:
    lines = [line for line in worker.log.read_text().splitlines() if f"{file} is parsed by" in line]
    assert len(lines) == 1
    assert fault in lines[0]
