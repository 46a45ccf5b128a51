"""Processes of an instance, found by the marker in their environment, and their end.

Every part is started with `AIRLANE_HOME` in its environment and hands it on to whatever it
forks; a part that supervisord does not know any more (it was killed) is found so.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil

#: Parts that are asked to end first and last: who would start others again, then work, then what
#: work leans on.
_FIRST, _LAST = "supervisor", ("batch-api", "api-server", "events", "broker", "postgres")


def find(folder: Path) -> list[psutil.Process]:
    """Return the processes that the instance in `folder` started and that still run.

    The caller is not among them, nor what called it.
    """
    own = {os.getpid(), *(p.pid for p in psutil.Process().parents())}
    found = []
    for process in psutil.process_iter():
        if process.pid in own:
            continue
        try:
            variables = process.environ()
            dead = process.status() == psutil.STATUS_ZOMBIE
        except psutil.Error:
            continue
        # AIRLANE_PART tells a part from a person's shell that has used `airlane env`
        if (
            not dead
            and variables.get("AIRLANE_HOME") == str(folder)
            and "AIRLANE_PART" in variables
        ):
            found.append(process)
    return found


def part_of(process: psutil.Process) -> str:
    """Return the name of the part that a process belongs to; empty when it is gone."""
    try:
        return str(process.environ().get("AIRLANE_PART", ""))
    except psutil.Error:
        return ""


def end(processes: list[psutil.Process], grace: float) -> None:
    """End processes: work first, servers last; whoever is left after `grace` seconds is killed."""
    groups: list[list[psutil.Process]] = [[] for _ in range(len(_LAST) + 2)]
    for process in processes:
        part = part_of(process)
        work = 0 if part == _FIRST else 1
        groups[_LAST.index(part) + 2 if part in _LAST else work].append(process)
    for group in groups:
        for process in group:
            # PostgreSQL takes TERM for a request to wait until its last client has gone
            gentle = signal.SIGINT if part_of(process) == "postgres" else signal.SIGTERM
            _signal(process, gentle)
        _, alive = psutil.wait_procs(group, timeout=grace)
        for process in alive:
            _signal(process, signal.SIGKILL)
        psutil.wait_procs(alive, timeout=grace)


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.Error:  # gone, or not ours to signal: whoever asks looks again
        return
