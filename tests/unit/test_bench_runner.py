"""What a benchmark that was killed leaves behind, and how a stack rests."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.benchmarks import runner
from tests.benchmarks.stack import Stack
from tests.benchmarks.stock import StockStack


@pytest.fixture
def part(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that carries the marker of a stack in `tmp_path`/airlane-bench-x/stock."""
    marker = {"AIRLANE_HOME": str(tmp_path / "airlane-bench-x" / "stock"), "AIRLANE_PART": "part"}
    words = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]
    with subprocess.Popen(words, env=os.environ | marker, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def test_what_a_killed_benchmark_left_is_ended(
    tmp_path: Path, part: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = tmp_path / "airlane-bench-x"
    folder.mkdir()
    own = tmp_path / "airlane-bench-y"
    own.mkdir()
    # a process id that no process can have
    (folder / "benchmark.pid").write_text(str(2**22 + 1))
    said: list[str] = []
    runner.end_abandoned(said.append)
    assert not psutil.pid_exists(part.pid)
    assert not folder.exists()
    assert own.exists(), "without a process id it is not known to be abandoned"
    assert len(said) == 1


def test_a_stack_at_rest_stands_still_and_goes_on(
    tmp_path: Path, part: subprocess.Popen[bytes]
) -> None:
    stack: Stack = StockStack(tmp_path / "airlane-bench-x" / "stock", tmp_path, print)
    stack.rest()
    assert psutil.Process(part.pid).status() == psutil.STATUS_STOPPED
    stack.resume()
    assert psutil.Process(part.pid).status() != psutil.STATUS_STOPPED
