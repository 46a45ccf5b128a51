"""CPU time by part of a stack, and what the rest of the machine used meanwhile."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from deploy.local import leftovers

#: A process: its number, and when it began, as numbers are used again.
Key = tuple[int, float]
#: How often a look is taken again when processes end during it.
_LOOKS = 3
#: Seconds by which the kernel's figures of a process and of its parent may differ.
_GRAIN = 0.02


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
        CPU seconds of everything that is neither the stack nor the benchmark: what the machine
        used less both. The kernel counts the machine in ticks and processes exactly, so that it
        may be a little below 0; far below 0, the parts were counted wrong.
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


@dataclass(frozen=True)
class Seen:
    """A process of a stack at one moment.

    Parameters
    ----------
    part
        Of the stack.
    parent
        None when that is no process of the stack.
    own
        CPU seconds of the process itself, since it began.
    waited
        CPU seconds of the children that it has waited for, and of theirs.
    """

    part: str
    parent: Key | None
    own: float
    waited: float

    @property
    def all(self) -> float:
        """CPU seconds of the process and of what it has waited for."""
        return self.own + self.waited


def used(then: Mapping[Key, Seen], now: Mapping[Key, Seen]) -> dict[str, float]:
    """Return the CPU seconds of each part between two looks.

    A process that ended in between has left its time, from its beginning on, to the one that has
    waited for it: what it had used before the first look is no part of these seconds. A
    process that nobody of the stack has waited for has left nothing: what it used since the first
    look is lost.
    """
    parts = {seen.part: 0.0 for seen in (*then.values(), *now.values())}
    for key, seen in now.items():
        before = then.get(key)
        parts[seen.part] += seen.all - (before.all if before else 0.0)
    left: dict[Key, list[float]] = {}
    for key, seen in then.items():
        if key not in now and (heir := _heir(seen, then, now)):
            left.setdefault(heir, []).append(seen.all)
    for heir, times in left.items():
        # what it was left in between holds all that it was left by those; what does not fit in was
        # left to nobody
        inherited = now[heir].waited - then[heir].waited
        for seconds in sorted(times, reverse=True):
            if seconds <= inherited + _GRAIN:
                inherited -= seconds
                parts[now[heir].part] -= seconds
    return {name: max(0.0, seconds) for name, seconds in sorted(parts.items())}


def _heir(seen: Seen, then: Mapping[Key, Seen], now: Mapping[Key, Seen]) -> Key | None:
    """Return the nearest ancestor that still runs."""
    key = seen.parent
    while key is not None and key not in now:
        key = then[key].parent if key in then else None
    return key if key in then else None


def _look(folder: Path) -> tuple[dict[Key, Seen], bool]:
    """Return the processes of a stack, and whether none has gone meanwhile.

    A process that has no part in its environment belongs to that of its nearest ancestor that has:
    PostgreSQL's write what they do over theirs.
    """
    named = {p.pid: leftovers.part_of(p) for p in leftovers.find(folder)}
    # without a name is one that has just ended: its parent's, if it is still to be seen
    parts = {pid: name for pid, name in named.items() if name}
    processes = {p.pid: p for p in psutil.process_iter(["ppid"])}
    parents = {pid: p.info["ppid"] for pid, p in processes.items()}
    whole = True
    found: dict[int, tuple[Key, str, float, float]] = {}
    for pid, process in processes.items():
        known: int | None = pid
        while known and known not in parts:
            known = parents.get(known)
        if not known:
            continue
        try:
            times, key = process.cpu_times(), (pid, process.create_time())
        except psutil.Error:
            whole = False
            continue
        own, waited = times.user + times.system, times.children_user + times.children_system
        found[pid] = key, parts[known], own, waited
    seen = {}
    for pid, (key, part, own, waited) in found.items():
        parent = found.get(parents[pid] or 0)
        seen[key] = Seen(part, parent[0] if parent else None, own, waited)
    return seen, whole


class CpuMeter:
    """Measures from its making on, the processes that came and went meanwhile too.

    A process's time includes that of the children that it has waited for, so that the processes
    that live at the end have the times of all others. A part that is restarted in between would
    lose its time; none is, while something is measured.

    Parameters
    ----------
    folder
        The stack's.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._start = self._measured()

    def _measured(self) -> tuple[float, dict[Key, Seen], float, float]:
        for _ in range(_LOOKS):
            # one that ends between its parent's turn and its own would be in neither
            seen, whole = _look(self._folder)
            if whole:
                break
        machine = psutil.cpu_times()
        busy = machine.user + machine.nice + machine.system + machine.irq + machine.softirq
        # without what it has waited for: those are the stack's own parts or short commands
        own = os.times()
        return time.monotonic(), seen, busy, own.user + own.system

    def read(self) -> CpuUse:
        """Return what was used since the start."""
        then, seen_then, busy_then, own_then = self._start
        now, seen_now, busy_now, own_now = self._measured()
        parts = used(seen_then, seen_now)
        own = own_now - own_then
        foreign = busy_now - busy_then - own - sum(parts.values())
        return CpuUse(now - then, parts, foreign, own)
