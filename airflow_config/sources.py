"""What tells one version of a function's or class's source from another.

For the modules that touch Airflow from inside: they compare what is installed with what was read.
"""

from __future__ import annotations

import hashlib
import inspect
from typing import Any


def digest(thing: Any) -> str:
    """Return the first 16 digits of the SHA-256 of a definition's source.

    Raises
    ------
    OSError, TypeError
        When it has no source.
    """
    return hashlib.sha256(inspect.getsource(inspect.unwrap(thing)).encode()).hexdigest()[:16]
