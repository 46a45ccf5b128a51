"""What touches Airflow's internals fits the installed version, or is left out."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest
from airflow.sdk.execution_time import supervisor
from airflow.sdk.execution_time.coordinator import BaseCoordinator

from workers import coordinator, task_runtime


@pytest.fixture(autouse=True)
def _forget():
    coordinator.runtime.cache_clear()
    yield
    coordinator.runtime.cache_clear()


def test_it_fits_the_installed_airflow():
    assert task_runtime.misfits() == []


def test_a_changed_source_does_not_fit(monkeypatch):
    monkeypatch.setattr(supervisor, "_fork_main", lambda: None)
    (found,) = task_runtime.misfits()
    assert found.startswith("supervisor._fork_main: expected source")


def test_a_missing_name_does_not_fit(monkeypatch):
    monkeypatch.delattr(supervisor, "_ensure_client")
    (found,) = task_runtime.misfits()
    assert "_ensure_client" in found


class Process:
    """Stands for a task's process."""

    final_state = "success"

    @classmethod
    def start(cls, **words):
        cls.started = words
        return cls()

    def wait(self):
        return 0


def execute(task, **other):
    words = {"what": task, "dag_rel_path": "a.py", "bundle_info": None, "client": task}
    return coordinator.WarmCoordinator().execute_task(
        **words, logger=None, subprocess_logs_to_stdout=False, **other
    )


def test_without_a_fit_tasks_run_as_airflow_runs_them(monkeypatch, caplog):
    monkeypatch.setattr(task_runtime, "misfits", lambda: ["it: differs"])
    monkeypatch.setattr(supervisor, "ActivitySubprocess", Process)
    task = object()
    with caplog.at_level(logging.ERROR):
        result = execute(task, sentry_integration="s")
    assert result == BaseCoordinator.ExecutionResult(0, "success")
    assert Process.started == {
        "dag_rel_path": "a.py",
        "what": task,
        "client": task,
        "logger": None,
        "bundle_info": None,
        "subprocess_logs_to_stdout": False,
        "sentry_integration": "s",
    }
    assert "it: differs" in caplog.text


def test_the_caches_of_loggers_are_emptied_once():
    manager = logging.root.manager
    emptied = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logging.Manager, "_clear_cache", lambda _: emptied.append(1))
        with task_runtime.one_clearing(manager):
            logging.getLogger("airlane.test").setLevel(logging.DEBUG)
            logging.getLogger("airlane.test").setLevel(logging.INFO)
            assert emptied == []
        assert emptied == [1]
        logging.getLogger("airlane.test").setLevel(logging.NOTSET)
        assert emptied == [1, 1]


def test_a_python_without_such_caches_is_left_alone():
    with task_runtime.one_clearing(object()):
        pass


def test_an_adapter_is_made_once():
    kind = list[int]
    assert task_runtime._adapter(kind) is task_runtime._adapter(kind)
    assert task_runtime._adapter(kind).validate_python(["1"]) == [1]


def test_seeding_loads_nothing_that_the_worker_has_not():
    code = (
        "import sys; from workers import task_runtime; sys.modules.pop('numpy.random', None); "
        "import numpy; before = set(sys.modules); task_runtime._draw_new_lots(); "
        "assert 'numpy.random' not in before; assert set(sys.modules) == before"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.skipif(sys.platform != "linux", reason="pidfd is Linux's")
def test_a_task_that_could_not_be_begun_leaves_no_process_and_no_descriptor():
    # In a process of its own: what is below the one that runs tests is not a task's.
    subprocess.run([sys.executable, "-c", REFUSED], check=True, timeout=120)


REFUSED = """
import gc, os
from types import SimpleNamespace
from tests.unit.test_worker_spare import run
from workers import coordinator, leftovers, task_runtime
from workers.spare import Template

def refused(self, **_):
    raise RuntimeError("409: the task runs elsewhere")

task_runtime.template = lambda: Template(run)
task_runtime.WarmSubprocess._on_child_started = refused
coordinator.runtime = lambda: task_runtime
runner = coordinator.WarmCoordinator()
runner._connections.client_like = lambda client, _: client
task = SimpleNamespace(id=None, queue="batch")
words = {"what": task, "dag_rel_path": "a.py", "bundle_info": None, "client": None}

def refuse():
    try:
        runner.execute_task(**words, logger=None, subprocess_logs_to_stdout=False)
    except RuntimeError as error:
        assert "409" in str(error)

refuse()
before = len(os.listdir("/proc/self/fd"))
for _ in range(3):
    refuse()
gc.collect()
assert not leftovers.present(), leftovers.present()
assert len(os.listdir("/proc/self/fd")) <= before
"""


def test_only_tasks_of_the_default_queue_have_a_server_of_their_own(monkeypatch):
    monkeypatch.delenv("AIRLANE_BATCH_API", raising=False)
    assert coordinator.WarmCoordinator()._servers == {}
    monkeypatch.setenv("AIRLANE_BATCH_API", "http://127.0.0.1:1/execution/")
    assert coordinator.WarmCoordinator()._servers == {"batch": "http://127.0.0.1:1/execution/"}
