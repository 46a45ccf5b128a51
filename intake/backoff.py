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


class SharedBackoff:
    """Waits of many tasks for one server: when one of them gets through, the others try at once.

    Only tasks that were already waiting are woken, and each once: an event that fails by itself
    goes on waiting longer and longer while others pass.
    """

    def __init__(self) -> None:
        self._failing = False
        self._recovered = asyncio.Event()

    async def wait(self, attempt: int) -> None:
        """Wait after a failed attempt (1 = the first)."""
        self._failing = True
        with suppress(TimeoutError):
            await asyncio.wait_for(self._recovered.wait(), delay(attempt))

    def succeeded(self) -> None:
        """Tell those who wait that the server answers again."""
        if self._failing:
            self._failing = False
            self._recovered.set()
            self._recovered = asyncio.Event()
