"""Whose CPU time the benchmark counts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.benchmarks.cpu import CpuMeter, Key, Seen, used
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


def seen(own: float, waited: float = 0.0, parent: Key | None = None) -> Seen:
    return Seen("postgres", parent, own, waited)


PARENT, CHILD, GRANDCHILD = (10, 1.0), (11, 2.0), (12, 3.0)


def test_what_a_process_used_before_it_was_first_seen_is_not_counted_when_it_ends() -> None:
    # a connection that loaded a million rows, and was closed while something else was measured
    then = {PARENT: seen(1, 5), CHILD: seen(39, parent=PARENT)}
    assert used(then, {PARENT: seen(1.5, 5 + 39.25)}) == {"postgres": pytest.approx(0.75)}


def test_one_that_nobody_waited_for_takes_nothing_from_others() -> None:
    then = {PARENT: seen(1, 5), CHILD: seen(39, parent=PARENT)}
    assert used(then, {PARENT: seen(1.5, 5.25)}) == {"postgres": pytest.approx(0.75)}


def test_a_process_whose_parent_ended_too_left_its_time_to_the_next_that_lives() -> None:
    then = {
        PARENT: seen(1),
        CHILD: seen(2, 3, parent=PARENT),
        GRANDCHILD: seen(4, parent=CHILD),
    }
    assert used(then, {PARENT: seen(1, 2 + 3 + 4 + 0.5)}) == {"postgres": pytest.approx(0.5)}


def test_one_that_came_later_counts_whole_even_with_the_number_of_one_that_ended() -> None:
    then = {PARENT: seen(1), CHILD: seen(2, parent=PARENT)}
    now = {PARENT: seen(1, 2), (CHILD[0], 9.0): seen(0.25, parent=PARENT)}
    assert used(then, now) == {"postgres": pytest.approx(0.25)}


@given(
    st.lists(st.tuples(st.floats(0, 50), st.floats(0, 5), st.booleans()), min_size=1, max_size=6)
)
def test_what_is_counted_is_what_was_used(children: list[tuple[float, float, bool]]) -> None:
    keys = [(number + 20, 1.0) for number in range(len(children))]
    then = {PARENT: seen(1)} | {
        key: seen(before, parent=PARENT) for key, (before, _, _) in zip(keys, children, strict=True)
    }
    left = sum(before + more for before, more, lives in children if not lives)
    now = {PARENT: seen(1, left)} | {
        key: seen(before + more, parent=PARENT)
        for key, (before, more, lives) in zip(keys, children, strict=True)
        if lives
    }
    expected = sum(more for _, more, _ in children)
    assert used(then, now)["postgres"] == pytest.approx(expected, abs=1e-6)


#: Works for as long as it is told, again and again.
WORKER = """
import os, sys, time
pid = os.fork()
if not pid:
    while time.process_time() < 0.5: pass
    print("worked", flush=True)
    sys.stdin.readline()
    os._exit(0)
os.waitpid(pid, 0)
print("ended", flush=True)
sys.stdin.read()
"""


def test_a_process_that_ends_brings_only_what_it_used_meanwhile(tmp_path: Path) -> None:
    marks = {**os.environ, "AIRLANE_HOME": str(tmp_path), "AIRLANE_PART": "postgres"}
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", WORKER], env=marks, stdin=pipe, stdout=pipe, text=True
    ) as part:
        assert part.stdin is not None
        assert part.stdout is not None
        assert part.stdout.readline() == "worked\n"
        meter = CpuMeter(tmp_path)
        part.stdin.write("\n")
        part.stdin.flush()
        assert part.stdout.readline() == "ended\n"
        assert meter.read().parts["postgres"] < 0.25
        part.stdin.close()
