"""What tells one version of a function's or class's source from another.

For the modules that touch Airflow from inside: they compare what is installed with what was read.
"""

from __future__ import annotations

import hashlib
import inspect
import operator
from collections.abc import Mapping
from typing import Any


def digest(thing: Any) -> str:
    """Return the first 16 digits of the SHA-256 of a definition's source.

    Raises
    ------
    OSError, TypeError
        When it has no source.
    """
    return hashlib.sha256(inspect.getsource(inspect.unwrap(thing)).encode()).hexdigest()[:16]


def differences(read: Mapping[str, str], owners: Mapping[str, Any]) -> list[str]:
    """Return which definitions are not as they were read, each with what was expected and found.

    Parameters
    ----------
    read
        `owner.name` of a definition, and its digest when it was read.
    owners
        The modules or classes that the names begin with.
    """
    found = []
    for name, expected in read.items():
        owner, _, path = name.partition(".")
        try:
            now = digest(operator.attrgetter(path)(owners[owner]))
        except (AttributeError, OSError, TypeError) as error:
            found.append(f"{name}: {error}")
            continue
        if now != expected:
            found.append(f"{name}: expected source {expected}, found {now}")
    return found
