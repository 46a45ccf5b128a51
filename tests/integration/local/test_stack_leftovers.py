"""Processes that no supervisor keeps any more: found, and ended."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from airflow_config.place import ROOT
from deploy.local import leftovers, stack, supervisor
from deploy.local.instance import Instance
from deploy.local.site import Site
from deploy.local.supervisor import Supervisor
from tests.programs import Programs, Use, end_all, pid, sleeping, states
from tests.servers import wait_until


def test_a_child_of_its_own_session_ends_with_its_part(
    instance: Instance, programs: Programs, use: Use
) -> None:
    use(programs.part("worker", "forks", "deaf", grace=1))
    stack.up(instance, programs.report)
    (child,) = psutil.Process(pid(instance, "worker")).children()
    assert os.getsid(child.pid) == child.pid
    stack.down(instance, programs.report)
    assert not child.is_running()


def test_down_ends_what_a_killed_supervisor_has_left(
    instance: Instance, programs: Programs, use: Use
) -> None:
    use(programs.part("base"), programs.part("worker", "forks"))
    stack.up(instance, programs.report)
    supervisor = Supervisor(instance)
    keeper = supervisor.pid()
    assert keeper is not None
    os.kill(keeper, signal.SIGKILL)
    wait_until(lambda: supervisor.pid() is None, "supervisord to be dead")
    assert states(instance) == {"base": "unsupervised", "worker": "unsupervised"}
    names = sorted(leftovers.part_of(process) for process in leftovers.find(instance.folder))
    assert names == ["base", "worker", "worker"]
    stack.down(instance, programs.report)
    assert leftovers.find(instance.folder) == []
    assert programs.reports[-1] == "ending 3 processes that no supervisor keeps"


def test_up_replaces_what_a_killed_supervisor_has_left(
    instance: Instance, programs: Programs, use: Use
) -> None:
    use(programs.part("base"))
    stack.up(instance, programs.report)
    keeper = Supervisor(instance).pid()
    assert keeper is not None
    os.kill(keeper, signal.SIGKILL)
    wait_until(lambda: Supervisor(instance).pid() is None, "supervisord to be dead")
    assert stack.up(instance, programs.report)
    names = sorted(leftovers.part_of(process) for process in leftovers.find(instance.folder))
    assert names == ["base", "supervisor"]


def test_a_frozen_supervisor_is_ended_too(
    instance: Instance, programs: Programs, use: Use, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(programs.part("base"))
    stack.up(instance, programs.report)
    keeper = Supervisor(instance).pid()
    assert keeper is not None
    os.kill(keeper, signal.SIGSTOP)
    monkeypatch.setattr(supervisor, "TIMEOUT", 0.5)
    monkeypatch.setattr(stack, "WORKER_GRACE", 1)
    with pytest.raises(stack.StackError, match="airlane down, airlane up"):
        stack.up(instance, programs.report)
    stack.down(instance, programs.report)
    assert leftovers.find(instance.folder) == []


def test_an_instance_deleted_while_it_runs_can_be_stopped(
    instance: Instance, programs: Programs, use: Use
) -> None:
    use(programs.part("base"))
    stack.up(instance, programs.report)
    shutil.rmtree(instance.folder)
    stack.down(instance, programs.report)
    assert leftovers.find(instance.folder) == []
    assert not instance.folder.exists()


def test_another_instance_is_left_alone(
    tmp_path: Path, programs: Programs, use: Use, instance: Instance
) -> None:
    other = Instance(tmp_path / "home-2", Site())
    use(programs.part("base"))
    try:
        stack.up(instance, programs.report)
        stack.up(other, programs.report)
        stack.down(instance, programs.report)
        names = sorted(leftovers.part_of(process) for process in leftovers.find(other.folder))
        assert names == ["base", "supervisor"]
        stack.down(other, programs.report)
    finally:
        end_all(other)


def test_a_shell_that_used_airlane_env_is_no_leftover(instance: Instance) -> None:
    variables = {"AIRLANE_HOME": str(instance.folder), "PATH": os.environ["PATH"]}
    with sleeping(variables):
        assert leftovers.find(instance.folder) == []


def test_a_worker_started_by_hand_is_found(instance: Instance) -> None:
    variables = {"AIRLANE_HOME": str(instance.folder), "PATH": os.environ["PATH"]}
    variables["AIRLANE_PART"] = "worker-batch-4711"
    with sleeping(variables) as worker:
        found = leftovers.find(instance.folder)
        assert [process.pid for process in found] == [worker.pid]
        leftovers.end(found, grace=5)
        assert not psutil.pid_exists(worker.pid)


def test_the_caller_is_no_leftover_of_its_own(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = (
        "import sys; from pathlib import Path; from deploy.local import leftovers; "
        "print(leftovers.find(Path(sys.argv[1])))"
    )
    variables = {
        "PATH": os.environ["PATH"],
        "AIRLANE_HOME": str(instance.folder),
        "AIRLANE_PART": "worker-batch",
    }
    # a shell between, as a person's
    words = ["sh", "-c", '"$@"; exit $?', "-", sys.executable, "-c", code, str(instance.folder)]
    done = subprocess.run(
        words, check=False, env=variables, cwd=ROOT, text=True, capture_output=True
    )
    assert done.stdout == "[]\n", done.stderr
