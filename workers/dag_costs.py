"""When a DAG file that a worker's tasks parse is worth parsing in its Celery process.

Taking a file in costs a trial in a process apart, a parse and a new template: ten times what a
task's own parse of a small file costs. With many files that change or come at once, each slot
would pay that for each of them, and most for a task or two. So a file is taken in once its tasks
have paid as much as that costs: whatever comes, it is at most twice what the cheaper way would
have cost (the rule of renting or buying skis; Karlin, Manasse, Rudolph, Sleator 1988). Where
somebody waits for the tasks, the caller does not ask.
"""

from __future__ import annotations

import mmap
import struct

_SECONDS = struct.Struct("d")


class Meter:
    """Seconds that a task's process spent on parsing, for the Celery process to read.

    Only one of them writes at a time: the task while it runs, the Celery process before and after.
    """

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Part from the process that this one was forked from; processes forked later share it."""
        self._shared = mmap.mmap(-1, _SECONDS.size)

    def add(self, seconds: float) -> None:
        """Count a parse."""
        (before,) = _SECONDS.unpack_from(self._shared)
        _SECONDS.pack_into(self._shared, 0, before + seconds)

    def take(self) -> float:
        """Return the seconds since the last call."""
        (seconds,) = _SECONDS.unpack_from(self._shared)
        _SECONDS.pack_into(self._shared, 0, 0.0)
        return float(seconds)


class Costs:
    """What parses of DAG files have cost a Celery process's tasks, and what taking one in costs."""

    def __init__(self) -> None:
        self._paid: dict[str, float] = {}
        self._parse: dict[str, float] = {}
        # Not known before the first, which is therefore taken in at once.
        self._overhead = 0.0

    def pay(self, path: str, seconds: float) -> None:
        """Add a task's parse of a file."""
        self._paid[path] = self._paid.get(path, 0.0) + seconds
        self._parse[path] = seconds

    def is_due(self, path: str) -> bool:
        """Tell whether a file's parses have cost as much as taking it in."""
        # Parsed twice: on trial and for good.
        price = self._overhead + (2 * self._parse.get(path, 0.0) if self._overhead else 0.0)
        return self._paid.get(path, 0.0) >= price

    def took_in(self, path: str, seconds: float) -> None:
        """Forget a file that was taken in, and remember what that took."""
        self._paid.pop(path, None)
        self._overhead = max(seconds - 2 * self._parse.pop(path, 0.0), 0.0)


#: This Celery process's; its tasks' processes write to it.
METER = Meter()
