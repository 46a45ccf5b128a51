"""Amounts of memory as people write them: `512MiB`, `4GiB`.

One number and one unit, so that nobody has to know whether an `M` is 1,000 or 1,024.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema
from pydantic_core import PydanticCustomError

#: Bytes in a unit, largest unit first.
UNITS = {"GiB": 2**30, "MiB": 2**20}

#: What an error says it expected.
EXPECTED = "an amount of memory such as 512MiB or 4GiB"

_SIZE = re.compile(r"([1-9][0-9]{0,5})(MiB|GiB)", re.ASCII)

#: The same for others who check a file, such as editors.
PATTERN = f"^{_SIZE.pattern}$"


def parse_size(text: object) -> int:
    """Read `512MiB` or `4GiB`; return bytes.

    Raises
    ------
    ValueError
        When `text` is anything else: zero, a fraction, another unit.
    """
    match = _SIZE.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError(f"expected {EXPECTED}, found {text!r}")
    return int(match[1]) * UNITS[match[2]]


def format_size(size: int) -> str:
    """Write bytes in the largest unit that divides them."""
    for unit, factor in UNITS.items():
        if size > 0 and size % factor == 0:
            return f"{size // factor}{unit}"
    raise ValueError(f"expected a whole number of MiB above zero, found {size!r} bytes")


def _validate(value: object) -> int:
    try:
        return parse_size(value)
    except ValueError:
        raise PydanticCustomError("size", "expected " + EXPECTED) from None


#: A field of a pydantic model in bytes that is written as `512MiB` or `4GiB`.
Size = Annotated[
    int,
    BeforeValidator(_validate),
    PlainSerializer(format_size, return_type=str),
    WithJsonSchema({"type": "string", "pattern": PATTERN}, mode="validation"),
]
