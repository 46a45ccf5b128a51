"""CPU time by part of a stack, and what the rest of the machine used meanwhile."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from deploy.local import leftovers


@dataclass(frozen=True)
class CpuUse:
    """CPU seconds in some time.

    Parameters
    ----------
    elapsed
        Wall-clock seconds.
    parts
        CPU seconds of each part of the stack.
    foreign
        CPU seconds of everything that is neither the stack nor the benchmark.
    own
        CPU seconds of the benchmark itself.
    """

    elapsed: float
    parts: dict[str, float]
    foreign: float
    own: float

    @property
    def stack(self) -> float:
        """CPU seconds of the whole stack."""
        return sum(self.parts.values())


def add(uses: Iterable[CpuUse]) -> CpuUse:
    """Return several as one."""
    parts: dict[str, float] = {}
    elapsed = foreign = own = 0.0
    for use in uses:
        elapsed, foreign, own = elapsed + use.elapsed, foreign + use.foreign, own + use.own
        for name, seconds in use.parts.items():
            parts[name] = parts.get(name, 0.0) + seconds
    return CpuUse(elapsed, parts, foreign, own)


def _processes(folder: Path) -> Iterator[tuple[psutil.Process, str]]:
    """Yield the processes of a stack, each with the name of its part.

    A process that has none in its environment belongs to the part of its nearest ancestor that
    has: PostgreSQL's write what they do over theirs.
    """
    parts = {p.pid: leftovers.part_of(p) or "unknown" for p in leftovers.find(folder)}
    processes = list(psutil.process_iter(["ppid"]))
    parents = {p.pid: p.info["ppid"] for p in processes}
    for process in processes:
        pid = process.pid
        while pid and pid not in parts:
            pid = parents.get(pid)
        if pid:
            yield process, parts[pid]


class CpuMeter:
    """Measures from its making on.

    A process's time includes that of the children that it has waited for, so the sum over the
    processes that live, with their children's, loses nothing of those that came and went. A part
    that is restarted in between would lose its time; none is, while something is measured.

    Parameters
    ----------
    folder
        The stack's.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._start = self._look()

    def _look(self) -> tuple[float, dict[str, float], float, float]:
        parts: dict[str, float] = {}
        for process, name in _processes(self._folder):
            try:
                times = process.cpu_times()
            except psutil.Error:
                continue
            seconds = times.user + times.system + times.children_user + times.children_system
            parts[name] = parts.get(name, 0.0) + seconds
        machine = psutil.cpu_times()
        busy = machine.user + machine.nice + machine.system + machine.irq + machine.softirq
        # without what it has waited for: those are the stack's own parts or short commands
        own = os.times()
        return time.monotonic(), parts, busy, own.user + own.system

    def read(self) -> CpuUse:
        """Return what was used since the start."""
        then, parts_then, busy_then, own_then = self._start
        now, parts_now, busy_now, own_now = self._look()
        parts = {
            name: max(0.0, seconds - parts_then.get(name, 0.0))
            for name, seconds in sorted(parts_now.items())
        }
        own = own_now - own_then
        foreign = max(0.0, busy_now - busy_then - own - sum(parts.values()))
        return CpuUse(now - then, parts, foreign, own)
