"""Which DAG files a worker may parse in its parent process, found out in a process apart.

What runs when a file is imported is its author's code. It may fail, block or end the process,
and it may change the process that it runs in, which every later task would inherit. So each file
is tried in a forked process first, with a time limit; a file that is not harmless is left to the
task processes, where Airflow parses it by default.
"""

from __future__ import annotations

import json
import locale
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Seconds that one file may take, and all of them together.
FILE_LIMIT, TOTAL_LIMIT = 10.0, 30.0


@dataclass(frozen=True)
class Finding:
    """What was found out about a DAG file.

    Parameters
    ----------
    path
        The file.
    queues
        The queues that its tasks use; empty when it can't be parsed in the parent.
    fault
        Why it can't be, or None.
    """

    path: str
    queues: frozenset[str] = frozenset()
    fault: str | None = None


def surroundings() -> dict[str, Any]:
    """Return what of this process an import could change for whoever comes after it."""
    mask = os.umask(0o077)
    os.umask(mask)
    handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
    return {
        "environment": dict(os.environ),
        "working directory": os.getcwd(),  # noqa: PTH109 - compared only
        "umask": mask,
        "locale": locale.setlocale(locale.LC_ALL),
        "signal handlers": handlers,
        "threads": threading.active_count(),
        "open files": _open_files(),
        "child processes": _has_children(),
    }


def _open_files() -> int:
    try:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - counted only
    except OSError:
        return 0


def _has_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def changes(before: dict[str, Any], after: dict[str, Any]) -> str | None:
    """Say what an import changed, or return None."""
    changed = [name for name, value in before.items() if after[name] != value]
    return f"its import changes: {', '.join(changed)}" if changed else None


def probe(
    paths: Sequence[str],
    parse: Callable[[str], Any],
    file_limit: float = FILE_LIMIT,
    total_limit: float = TOTAL_LIMIT,
) -> list[Finding]:
    """Try DAG files in a process apart; in the order given, as many as the time allows.

    Parameters
    ----------
    paths
        The files.
    parse
        Makes a DagBag of one.
    file_limit, total_limit
        Seconds that one file may take, and all of them.
    """
    findings: list[Finding] = []
    end = time.monotonic() + total_limit
    while len(findings) < len(paths) and time.monotonic() < end:
        left = paths[len(findings) :]
        findings += _probe_in_fork(left, parse, file_limit, end)
    return findings


def _probe_in_fork(
    paths: Sequence[str], parse: Callable[[str], Any], file_limit: float, end: float
) -> Iterator[Finding]:
    """Yield findings until the child is through, or has failed with one file."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            _work(paths, parse, writing)
        finally:
            os._exit(0)
    os.close(writing)
    try:
        with os.fdopen(reading, "rb", buffering=0) as pipe:
            lines = _lines(pipe.fileno(), file_limit, end)
            for path in paths:
                line = next(lines)
                if line is None and time.monotonic() >= end:
                    return  # it had less than its time: nothing is known of it
                if not line:
                    late = f"takes longer than {file_limit:g} s"
                    fault = late if line is None else "ends the process"
                    yield Finding(path, fault=f"its import {fault}")
                    return
                said = json.loads(line)
                yield Finding(path, frozenset(said["queues"]), said["fault"])
    finally:
        for kill in (os.killpg, os.kill):  # it leads a group: what it started goes with it
            with suppress(ProcessLookupError):
                kill(child, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(child, 0)


def _lines(pipe: int, limit: float, end: float) -> Iterator[bytes | None]:
    """Yield the lines that come, None when one is late, nothing in it at the pipe's end."""
    buffer = b""
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    while True:
        while b"\n" in buffer:
            line, _, buffer = buffer.partition(b"\n")
            yield line
        wait = max(0.0, min(limit, end - time.monotonic()))
        if not poll.poll(wait * 1000):
            yield None
        chunk = os.read(pipe, 65536)
        if not chunk:
            yield b""
        buffer += chunk


def _work(paths: Sequence[str], parse: Callable[[str], Any], pipe: int) -> None:
    """Run in the child: parse each file and write a line about it."""
    os.setpgid(0, 0)
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    for path in paths:
        before = surroundings()
        queues: set[str] = set()
        fault = None
        try:
            bag = parse(path)
            queues = {task.queue for dag in bag.dags.values() for task in dag.tasks}
            if bag.import_errors:
                text = next(iter(bag.import_errors.values())).strip().splitlines()
                fault = f"it can't be imported: {text[-1] if text else 'no reason given'}"
        except BaseException as error:  # whatever it is, the file is not for us
            fault = f"it can't be parsed: {type(error).__name__}: {error}"
        fault = fault or changes(before, surroundings())
        said = {"queues": sorted(queues) if fault is None else [], "fault": fault}
        os.write(pipe, json.dumps(said).encode() + b"\n")


def shown(path: str, folder: Path) -> str:
    """Return a file's name as log lines have it."""
    try:
        return str(Path(path).relative_to(folder))
    except ValueError:
        return path
