"""Durations as people write them: `90s`, `3m`, `6h`, `1d`.

One number and one unit, so that every duration has one spelling that can be read at a glance
and a bare number, whose unit would have to be guessed, is refused.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema
from pydantic_core import PydanticCustomError

#: Seconds in a unit, largest unit first.
UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}

#: What an error says it expected.
EXPECTED = "a duration such as 90s, 3m, 6h or 1d"

_DURATION = re.compile(r"([1-9][0-9]{0,6})([smhd])", re.ASCII)

#: The same for others who check a file, such as editors.
PATTERN = f"^{_DURATION.pattern}$"


def parse_duration(text: object) -> timedelta:
    """Read `90s`, `3m`, `6h` or `1d`.

    Raises
    ------
    ValueError
        When `text` is anything else: a bare number, zero, a fraction, two units.
    """
    if isinstance(text, timedelta):
        return text
    match = _DURATION.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError(f"expected {EXPECTED}, found {text!r}")
    return timedelta(seconds=int(match[1]) * UNITS[match[2]])


def format_duration(duration: timedelta) -> str:
    """Write a duration of whole seconds in the largest unit that divides it."""
    seconds = int(duration.total_seconds())
    if seconds < 1 or duration != timedelta(seconds=seconds):
        raise ValueError(f"expected a duration of whole seconds above zero, found {duration!r}")
    for unit, size in UNITS.items():
        if seconds % size == 0:
            return f"{seconds // size}{unit}"
    raise AssertionError("every whole number of seconds is divided by one second")


def _validate(value: object) -> timedelta:
    try:
        return parse_duration(value)
    except ValueError:
        raise PydanticCustomError("duration", "expected " + EXPECTED) from None


#: A timedelta field of a pydantic model that is written as `90s`, `3m`, `6h` or `1d`.
Duration = Annotated[
    timedelta,
    BeforeValidator(_validate),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema({"type": "string", "pattern": PATTERN}, mode="validation"),
]
