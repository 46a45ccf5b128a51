"""A process is forked ahead, becomes one task's, and its end is told, whoever dies before."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from tests.servers import wait_until
from tests.unit.spare_orders import begin, run
from workers.spare import LostError, Template

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="pidfd is Linux's")


@pytest.fixture
def template() -> Iterator[Template]:
    found = Template(run)
    yield found
    found.end()
    assert not psutil.pid_exists(found.pid)


def test_each_task_has_a_process_of_its_own_and_its_pipes(template):
    pids = set()
    for code in (0, 3, 0):
        spare, pipe = begin(template, f"exit {code}")
        assert spare.wait(None) == code
        assert int(pipe.recv(64)) == spare.pid
        assert spare.wait(0) == code
        spare.close()
        pipe.close()
        pids.add(spare.pid)
    assert len(pids) == 3


def test_a_process_that_runs_has_no_exit_code(template):
    spare, pipe = begin(template, "wait")
    with pytest.raises(TimeoutError, match=f"{spare.pid} still runs"):
        spare.wait(0)
    assert os.getpgid(spare.pid) == spare.pid
    pipe.close()
    assert spare.wait(None) == 0


def test_a_signal_reaches_it_and_is_named_at_its_end(template):
    spare, pipe = begin(template, "wait")
    spare.send_signal(signal.SIGTERM)
    assert spare.wait(None) == -signal.SIGTERM
    assert spare.wait(None).name == "SIGTERM"
    pipe.close()


def test_a_process_that_ended_gets_no_signal(template):
    spare, pipe = begin(template, f"kill {signal.SIGKILL:d}")
    pipe.close()
    assert spare.wait(None) == -signal.SIGKILL
    with pytest.raises(spare.ProcessNotFound):
        spare.send_signal(signal.SIGTERM)


def test_a_lost_template_is_told(template):
    template.spare()
    os.kill(template.pid, signal.SIGKILL)
    os.waitid(os.P_PID, template.pid, os.WEXITED | os.WNOWAIT)
    with pytest.raises(LostError, match=str(template.pid)):
        template.spare()


PROGRAM = """
import os, signal, socket, sys
from tests.unit.spare_orders import begin, run
from workers import leftovers
from workers.spare import Template
leftovers.adopt()
template = Template(run)
"""
ORPHAN = """
spare, pipe = begin(template, "wait")
os.kill(template.pid, signal.SIGKILL)
os.waitpid(template.pid, 0)
try:
    spare.wait(0)
except TimeoutError:
    spare.send_signal(signal.SIGUSR2)
    print(spare.wait(None).name)
"""
ALONE = """
spare, pipe = begin(template, "exit 0")
spare.wait(None)
print(template.pid, template.spare().pid, flush=True)
os._exit(0)
"""


def said(program: str) -> str:
    words = [sys.executable, "-c", PROGRAM + program]
    done = subprocess.run(words, check=True, capture_output=True, text=True, timeout=120)
    return done.stdout.strip()


def test_the_end_of_a_task_is_told_without_its_template():
    assert said(ORPHAN) == "SIGUSR2"


def test_none_outlives_the_process_that_it_belongs_to():
    pids = [int(word) for word in said(ALONE).split()]
    assert len(pids) == 2
    wait_until(lambda: not any(psutil.pid_exists(pid) for pid in pids), "both to end")
