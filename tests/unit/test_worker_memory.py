"""The limit of what a process may take from now on, tried in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from workers import memory

PROGRAM = """
from workers import memory
before = bytearray(64 * 2**20)
memory.limit(128 * 2**20)
try:
    print(len(bytearray({size} * 2**20)))
except MemoryError:
    print("refused")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the limit counts so on Linux only")
@pytest.mark.parametrize(("size", "said"), [(64, str(64 * 2**20)), (256, "refused")])
def test_only_what_comes_on_top_counts(tmp_path, size, said):
    program = PROGRAM.format(size=size)
    environment = {**os.environ, "AIRFLOW_HOME": str(tmp_path)}
    words = [sys.executable, "-c", program]
    out = subprocess.run(words, check=True, capture_output=True, text=True, env=environment)
    assert out.stdout.splitlines()[-1] == said


def test_the_explanation_names_limit_and_remedy():
    text = memory.explain(256 * 2**20)
    assert "256MiB" in text
    assert "task_memory" in text


@pytest.mark.parametrize(("code", "perhaps"), [(-6, True), (-11, True), (-9, False), (0, False)])
def test_a_crash_may_be_for_lack_of_memory(code, perhaps):
    assert memory.ended_by(code) is perhaps
