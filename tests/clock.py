"""A clock that a test sets."""

from __future__ import annotations


class Clock:
    """Stands for `time.monotonic`; it goes on only when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now
