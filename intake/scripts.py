"""The Lua scripts in intake/lua/, each of which does its steps on the server as one.

Those with the flag `allow-oom` finish what was taken in (decisions, dead letters) on a server that
takes no more: so its memory exceeds the bound by what is under way at most, and gets free again.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).with_name("lua")


@cache
def source(name: str) -> str:
    """Return the text of a script, by its name without `.lua`."""
    return (_FOLDER / f"{name}.lua").read_text()
