"""The processes of a peer: none outlives its measurement."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.benchmarks.peers import processes
from tests.benchmarks.peers.environment import UnavailableError
from tests.benchmarks.peers.processes import MARKER, Processes
from tests.programs import sleeping


@pytest.fixture
def parts(tmp_path: Path) -> Any:
    found = Processes(tmp_path)
    yield found
    found.stop()


def env(folder: Path) -> dict[str, str]:
    return {**os.environ, MARKER: str(folder)}


def start(parts: Processes, name: str, code: str) -> None:
    log = parts.log(name)
    parts.start(
        name, [sys.executable, "-uc", code], env(parts.folder), lambda: "ready" in log.read_text()
    )


FORKS = (
    "import subprocess, sys\n"
    "subprocess.Popen(['sleep', '600'], start_new_session=True)\n"
    "print('ready')\n"
    "import signal; signal.pause()"
)


DEAF = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); print('ready'); signal.pause()"


def test_stopping_leaves_nothing_not_even_what_left_the_group(parts: Processes) -> None:
    start(parts, "forks", FORKS)
    start(parts, "deaf", DEAF)
    assert len(processes.leftovers(parts.folder)) == 3
    parts.stop()
    assert not processes.leftovers(parts.folder)


INTERRUPTED = """\
import os, signal, sys
from pathlib import Path
from tests.benchmarks.peers.processes import MARKER, Processes
from tests.programs import sleeping

# A shell starts what it runs in the background with interrupts ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
parts = Processes(Path(sys.argv[1]))
env = {**os.environ, MARKER: sys.argv[1]}
log = parts.log("part")
try:
    ready = lambda: "ready" in log.read_text()
    parts.start("part", [sys.executable, "-uc", sys.argv[2]], env, ready)
    print("started", flush=True)
    signal.pause()
finally:
    print("stopping", flush=True)
    parts.stop()
"""


#: Ends on the request only after a second, which it says.
SLOW = (
    "import signal, sys, time\n"
    "signal.signal(signal.SIGTERM, lambda *_: (print('asked'), time.sleep(1), sys.exit()))\n"
    "print('ready')\n"
    "signal.pause()"
)


def test_an_impatient_second_interrupt_leaves_nothing_either(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    words = [sys.executable, "-c", INTERRUPTED, str(tmp_path), SLOW]
    with subprocess.Popen(
        words, cwd=request.config.rootpath, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"started\n"
            process.send_signal(signal.SIGINT)
            assert process.stdout.readline() == b"stopping\n"
            log = tmp_path / "part.log"
            processes.wait_until(lambda: "asked" in log.read_text(), "asked", 60)
            process.send_signal(signal.SIGINT)
            process.wait(60)
            assert not processes.leftovers(tmp_path)
        finally:
            # what fails leaves nothing either
            process.kill()
            processes.end_leftovers(tmp_path)


def test_what_an_earlier_run_left_is_found_by_its_folder(tmp_path: Path) -> None:
    with sleeping(env(tmp_path)) as left:
        assert [p.pid for p in processes.leftovers(tmp_path)] == [left.pid]
        processes.end_leftovers(tmp_path)
        assert left.poll() is not None


def test_a_killed_part_goes_with_its_children(parts: Processes) -> None:
    start(parts, "forks", FORKS)
    children = processes.leftovers(parts.folder)
    parts.kill(("forks",))
    psutil.wait_procs(children, timeout=30)
    assert not processes.leftovers(parts.folder)


def test_a_part_that_ends_at_once_says_its_last_words(parts: Processes) -> None:
    with pytest.raises(UnavailableError, match=r"broken ended \(3\): no broker"):
        start(parts, "broken", "print('no broker'); raise SystemExit(3)")
