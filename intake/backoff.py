"""Waiting between attempts: exponential, with jitter, cut short when somebody else succeeds."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress

#: Seconds of the first wait and of the longest one.
FIRST = 0.2
LONGEST = 10.0


def delay(attempt: int) -> float:
    """Return the seconds to wait after the given attempt (1 = the first): half to whole."""
    bound = min(LONGEST, FIRST * 2.0 ** min(attempt - 1, 16))
    return bound * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, keeps no secret


def is_told(failures: int) -> bool:
    """Say whether the failure of this number in a row is logged: 1, 2, 4, 8, ...

    An outage of hours must not fill the log.
    """
    return failures & (failures - 1) == 0


class SharedBackoff:
    """Waits of many tasks for one server: when one of them gets through, the others try at once.

    Only a task that had failed before tells the others: what fails by itself, while everything
    else passes at the first attempt, goes on waiting longer and longer.
    """

    def __init__(self) -> None:
        self._recovered = asyncio.Event()

    async def wait(self, attempt: int) -> None:
        """Wait after a failed attempt (1 = the first)."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._recovered.wait(), delay(attempt))

    def succeeded(self, attempt: int) -> None:
        """Tell those who wait that an attempt (1 = the first) got through."""
        if attempt > 1:
            self._recovered.set()
            self._recovered = asyncio.Event()
