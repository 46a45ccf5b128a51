"""Processes that a task left behind are ended, and nothing else is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import psutil
import pytest

from workers import leftovers

PROGRAM = """
import os, subprocess, sys, psutil
from workers import leftovers
adopted = leftovers.adopt()
{setup}
ended = leftovers.end({known}, grace=1)
print(adopted, ended, [p.pid for p in psutil.Process().children(recursive=True)] {left})
"""

DETACHED = """
subprocess.run([sys.executable, "-c", '''
import subprocess, sys
subprocess.Popen(["sleep", "600"], start_new_session=True)
'''], check=True)
"""
STUBBORN = """
child = subprocess.Popen([sys.executable, "-c", '''
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("set", flush=True)
time.sleep(600)
'''], stdout=subprocess.PIPE)
child.stdout.readline()
"""
KNOWN = """
mine = subprocess.Popen(["sleep", "600"])
known = leftovers.present()
subprocess.Popen(["sleep", "600"])
"""
ENDED = """
if os.fork() == 0:
    os._exit(0)
os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
"""


def run(setup: str, known: str = "frozenset()", left: str = "") -> str:
    program = PROGRAM.format(setup=setup, known=known, left=left)
    words = [sys.executable, "-c", program]
    # what is not ended holds the pipe, and would be waited for as long as it sleeps
    done = subprocess.run(words, check=True, capture_output=True, text=True, timeout=120)
    return done.stdout.strip()


@pytest.mark.skipif(sys.platform != "linux", reason="orphans are adopted on Linux only")
@pytest.mark.parametrize(
    ("setup", "said"),
    [
        ("", "True [] []"),
        (DETACHED, "True ['sleep'] []"),
        (STUBBORN, "True ['python'] []"),
        (ENDED, "True [] []"),
    ],
)
def test_what_is_left_is_ended_and_named(setup, said):
    assert run(setup).replace("python3.11", "python").replace("python3", "python") == said


@pytest.mark.skipif(sys.platform != "linux", reason="orphans are adopted on Linux only")
def test_what_was_there_before_is_left_alone():
    assert run(KNOWN, "known", "== [mine.pid], mine.kill()") == "True ['sleep'] True None"


def test_one_that_ends_by_itself_in_between_is_no_error(monkeypatch):
    def gone(pid, _number):
        raise ProcessLookupError(3, "No such process")

    monkeypatch.setattr(os, "kill", gone)
    leftovers._ask(psutil.Process(), signal.SIGTERM, {})
