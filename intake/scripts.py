"""The Lua scripts in intake/lua/, each of which does its steps on the server as one."""

from __future__ import annotations

from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).with_name("lua")


@cache
def source(name: str) -> str:
    """Return the text of a script, by its name without `.lua`."""
    return (_FOLDER / f"{name}.lua").read_text()
