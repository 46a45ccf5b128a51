"""What can go wrong while something is measured."""

from __future__ import annotations


class BenchError(Exception):
    """A stack or a case did not do what it must; the text says what was expected and found."""


class ApiError(BenchError):
    """The API refused a call; the text holds its answer."""


class TooLateError(BenchError):
    """What was awaited did not come true in time."""
