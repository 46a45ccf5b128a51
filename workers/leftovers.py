"""Processes that a task leaves behind are ended when it ends.

A task's own process is forked from a Celery process. What it starts and does not wait for would
go on, hold the task's log and memory, and belong to nobody. Linux lets a process take over such
orphans (`PR_SET_CHILD_SUBREAPER`), so that they can be found whatever they did to detach.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil

log = logging.getLogger(__name__)

#: Seconds that they get to end by themselves, after SIGTERM.
GRACE = 2.0

#: <linux/prctl.h>
_PR_SET_CHILD_SUBREAPER = 36


def adopt() -> bool:
    """Have this process become the parent of orphans below it; False where that can't be."""
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        log.warning("Can't adopt orphans: errno %d", ctypes.get_errno())
        return False
    return True


def present() -> frozenset[int]:
    """Return the processes below this one."""
    return frozenset(_below(frozenset()))


def end(known: frozenset[int] = frozenset(), grace: float = GRACE) -> list[str]:
    """End the processes below this one and wait for them; return the names of those that lived.

    To be called when the process that should be there has ended and was waited for.

    Parameters
    ----------
    known
        Those that are to be left alone, with all that is below them.
    grace
        Seconds between the request to end and the kill.
    """
    names: dict[int, str] = {}
    for number in (signal.SIGTERM, signal.SIGKILL):
        asked: set[int] = set()
        limit = time.monotonic() + grace
        while found := _processes(_below(known)):
            left = limit - time.monotonic()
            if left <= 0:
                break
            for process in found:
                if process.pid not in asked:
                    asked.add(process.pid)
                    _ask(process, number, names)
            # Not all of the time at once: one that was asked may have started another.
            psutil.wait_procs(found, timeout=min(left, 0.1))
    return sorted(names.values())


def _below(known: frozenset[int]) -> list[int]:
    """Return the processes below this one, but for those that are known and what is below them."""
    found: list[int] = []
    left = [os.getpid()]
    while left:
        for child in _children(left.pop()):
            if child not in known and child not in found:
                found.append(child)
                left.append(child)
    return found


def _children(pid: int) -> list[int]:
    # Three system calls, where `psutil` reads a file of each process of the machine.
    threads = Path(f"/proc/{pid}/task")
    try:
        lists = [(thread / "children").read_text() for thread in threads.iterdir()]
    except (FileNotFoundError, ProcessLookupError):
        # The process has ended, or the kernel has no such file.
        with suppress(psutil.NoSuchProcess):
            return [child.pid for child in psutil.Process(pid).children()]
        return []
    return [int(child) for text in lists for child in text.split()]


def _processes(pids: list[int]) -> list[psutil.Process]:
    found = []
    for pid in pids:
        with suppress(psutil.NoSuchProcess):
            found.append(psutil.Process(pid))
    return found


def _ask(process: psutil.Process, number: signal.Signals, names: dict[int, str]) -> None:
    with suppress(psutil.NoSuchProcess):
        if process.status() == psutil.STATUS_ZOMBIE:
            return
        names[process.pid] = process.name()
        # another user's; or it has ended in between, and its parent knows already
        with suppress(PermissionError, ProcessLookupError):
            os.kill(process.pid, number)
