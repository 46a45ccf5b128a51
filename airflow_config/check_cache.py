"""What a check found, kept until a file that it read changes.

Airflow alone takes two seconds to import; a check before each commit and in each editor would cost
that every time. The result is kept beside the DAG folder and used again while the queue model, the
versions, the rules here, every file of the folder and every module that the DAG files imported from
the project are as they were. What a DAG file reads otherwise (the environment, a database, the
clock) is not seen.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from sysconfig import get_path
from typing import Any

from airflow_config.queues import Fleet

#: Beside the DAG folder; it ignores itself in git, as the caches of ruff and mypy do.
FOLDER = ".airlane_cache"
_FILE = "check.json"


def load(folder: Path, fleet: Fleet) -> list[Any] | None:
    """Return what was stored for a DAG folder; None when something has changed since.

    Parameters
    ----------
    folder
        The DAG folder.
    fleet
        The queue model.
    """
    try:
        kept = json.loads((folder.parent / FOLDER / _FILE).read_text(encoding="utf-8"))
        imported = [folder.parent / name for name in kept["imported"]]
        if kept["key"] == _key(folder, fleet, imported):
            return list(kept["found"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return None


def store(folder: Path, fleet: Fleet, imported: Iterable[Path], found: list[Any]) -> None:
    """Keep what was found, and the modules of the project that were imported for it."""
    root, others = folder.parent, Path(sys.prefix)
    own = {file for file in imported if file.is_relative_to(root)}
    own = {file for file in own if not file.is_relative_to(others)}
    target = root / FOLDER
    try:
        kept = {
            "key": _key(folder, fleet, own),
            "imported": sorted(str(file.relative_to(root)) for file in own),
            "found": found,
        }
        target.mkdir(exist_ok=True)
        (target / ".gitignore").write_text("*\n", encoding="utf-8")
        part = target / f"{_FILE}.part"
        part.write_text(json.dumps(kept), encoding="utf-8")
        part.replace(target / _FILE)
    except OSError:
        # a folder that is read-only, or a file that can't be read, costs time, no more
        return


def _key(folder: Path, fleet: Fleet, imported: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    # changes when a package comes, goes or is upgraded
    packages = Path(get_path("purelib")).stat().st_mtime_ns
    digest.update(repr((sys.version, sys.prefix, packages, fleet)).encode())
    inside = (file for file in folder.rglob("*") if "__pycache__" not in file.parts)
    rules = Path(__file__).parent.glob("*.py")
    for file in sorted({*inside, *imported, *rules}):
        digest.update(f"\0{file}\0".encode())
        if file.is_file():
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()
