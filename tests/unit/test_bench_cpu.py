"""Whose CPU time the benchmark counts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil

from tests.benchmarks.cpu import CpuMeter
from tests.servers import wait_until

#: Starts a process without the marks of a stack, as PostgreSQL's are, that works until its end.
PART = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "while True: pass"], env={})
print(child.pid, flush=True)
sys.stdin.read()
child.kill()
child.wait()
"""


def test_a_process_without_marks_belongs_to_the_part_that_started_it(tmp_path: Path) -> None:
    marks = {**os.environ, "AIRLANE_HOME": str(tmp_path), "AIRLANE_PART": "postgres"}
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", PART], env=marks, stdin=pipe, stdout=pipe, text=True
    ) as part:
        assert part.stdin is not None
        assert part.stdout is not None
        try:
            child = psutil.Process(int(part.stdout.readline()))
            meter = CpuMeter(tmp_path)
            before = child.cpu_times().user
            wait_until(lambda: child.cpu_times().user > before + 0.1, "the child to work")
            assert meter.read().parts["postgres"] >= 0.05
        finally:
            part.stdin.close()
