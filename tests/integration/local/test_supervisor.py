"""supervisord with our settings: any path, bounded logs, a clean environment."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
import pytest

from deploy.local import stack, status
from deploy.local.instance import Instance
from deploy.local.site import Logs, Site
from deploy.local.supervisor import Supervisor
from tests.programs import Programs, Use, end_all, pid
from tests.servers import wait_until


def test_a_part_that_is_killed_is_started_again_and_counted(
    instance: Instance, programs: Programs, use: Use
) -> None:
    use(programs.part("base"), programs.part("other"))
    stack.up(instance, programs.report)
    first = pid(instance, "base")
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: pid(instance, "base") not in {0, first}, "the part to be started again")
    restarts = {part.name: part.restarts for part in status.status(instance).parts}
    assert restarts == {"base": 1, "other": 0}


@pytest.mark.parametrize(
    "name",
    ["with space", "100% sure, a=b", "grüße", "a" * 100 + "/" + "b" * 100],
    ids=["space", "percent-comma", "unicode", "longer-than-a-socket"],
)
@pytest.mark.usefixtures("instance")
def test_an_instance_may_lie_anywhere(
    tmp_path: Path, programs: Programs, use: Use, name: str
) -> None:
    made = Instance(tmp_path / name, Site())
    use(programs.part("base"))
    try:
        stack.up(made, programs.report)
        process = psutil.Process(pid(made, "base"))
        assert process.environ()["AIRLANE_HOME"] == str(made.folder)
        assert "base says hello" in (made.logs / "base.log").read_text()
        socket = Supervisor(made)._socket
        stack.down(made, programs.report)
        assert not socket.exists()
        assert socket.parent in {made.run} or not socket.parent.exists()
    finally:
        end_all(made)


def test_every_socket_path_that_is_taken_can_be_bound(
    tmp_path: Path, programs: Programs, use: Use, instance: Instance
) -> None:
    # supervisord first binds a longer name; just below the limit that one was too long
    length = 107 - len("/run/supervisor.sock") - len(str(tmp_path)) - 1
    if length < 1:
        pytest.skip("the temporary folder's own path is too long to try")
    made = Instance(tmp_path / ("x" * length), Site())
    use(programs.part("base"))
    try:
        assert stack.up(made, programs.report)
        stack.down(made, programs.report)
    finally:
        end_all(made)


def test_logs_are_bounded(tmp_path: Path, programs: Programs, use: Use, instance: Instance) -> None:
    made = Instance(tmp_path / "small", Site(logs=Logs(max_mb=1, keep=1)))
    use(programs.part("talker", "talks"))
    try:
        stack.up(made, programs.report)
        wait_until(lambda: len(sorted(made.logs.glob("talker.log*"))) == 2, "a second file")
        stack.down(made, programs.report)
        files = sorted(made.logs.glob("talker.log*"))
        assert [file.name for file in files] == ["talker.log", "talker.log.1"]
        # a file is rolled over by the write that fills it
        assert all(file.stat().st_size < 1.2 * 2**20 for file in files)
    finally:
        end_all(made)


def test_variables_of_the_shell_stay_outside(
    instance: Instance, programs: Programs, use: Use, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__PARALLELISM", "1")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    use(programs.part("base"))
    stack.up(instance, programs.report)
    variables = psutil.Process(pid(instance, "base")).environ()
    assert not {"AIRFLOW__CORE__PARALLELISM", "HTTP_PROXY"} & set(variables)
    assert variables["AIRLANE_PART"] == "base"
