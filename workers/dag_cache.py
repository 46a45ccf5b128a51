"""Parsed DAG files that a process keeps, and that processes forked from it inherit.

A kept file is good as long as it and every module of its folder that was loaded with it are the
same files on disk. When one changed, the next task parses anew, in its own process.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

#: Files that are kept at most: each costs memory in every worker.
MAX_FILES = 200

#: What tells one state of a file from another.
Signature = tuple[int, int, int, int]


def signature(path: str) -> Signature | None:
    """Return what tells a file's state, or None when it can't be read."""
    try:
        found = os.stat(path)  # noqa: PTH116 - runs for every task and source
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def modules_below(folder: str) -> dict[str, str]:
    """Return the loaded modules that lie below a folder: name -> file.

    Those of DAG files themselves are left out: Airflow loads them under names of its own, and
    nothing imports them.
    """
    start = os.path.realpath(folder) + os.sep
    found = {}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file and not name.startswith("unusual_prefix_"):
            real = os.path.realpath(file)
            if real.startswith(start):
                found[name] = real
    return found


@dataclass(frozen=True)
class _Kept:
    arguments: Mapping[str, Any]
    bag: Any
    sources: Mapping[str, Signature | None]

    def is_fresh(self) -> bool:
        return all(signature(path) == then for path, then in self.sources.items())


class DagCache:
    """DAG files that were parsed in this process or in one that it was forked from."""

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}
        self._refused: dict[str, Signature | None] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def wants(self, path: str) -> bool:
        """Tell whether a file should be parsed here: it is new or changed since, or a module."""
        kept = self._kept.get(path)
        if kept is not None:
            return not kept.is_fresh()
        if path in self._refused:
            return self._refused[path] != signature(path)
        return len(self._kept) < MAX_FILES

    def refuse(self, path: str) -> None:
        """Leave a file to the task processes as long as it does not change."""
        self._kept.pop(path, None)
        self._refused[path] = signature(path)

    def find(self, path: str, **arguments: Any) -> Any | None:
        """Return what a file was parsed to with these arguments, if that still holds.

        When it no longer does, modules of its folder that changed are forgotten, so that a parse
        in this process loads them anew.
        """
        kept = self._kept.get(path)
        if kept is None or kept.arguments != arguments:
            return None
        if kept.is_fresh():
            return kept.bag
        del self._kept[path]
        folder = str(arguments["bundle_path"])
        modules = modules_below(folder)
        changed = {file for file, then in kept.sources.items() if signature(file) != then}
        if changed & set(modules.values()):
            # Modules import each other: all of the folder, so that none keeps an old one.
            for name in modules:
                sys.modules.pop(name, None)
        return None

    def parse(self, parser: Callable[..., Any], path: str, **arguments: Any) -> Any:
        """Parse a file, keep the result, and return it.

        Parameters
        ----------
        parser
            Airflow's `BundleDagBag`.
        path
            The DAG file.
        arguments
            What else the parser gets; `bundle_path` among them.
        """
        self.find(path, **arguments)  # forgets what is old
        start = time.time_ns()
        first = signature(path)
        bag = parser(dag_folder=path, **arguments)
        sources = {path: first}
        for file in modules_below(str(arguments["bundle_path"])).values():
            sources[file] = signature(file)
        if len(self._kept) < MAX_FILES and not _written_since(start, sources.values()):
            self._kept[path] = _Kept(dict(arguments), bag, sources)
        return bag


def _written_since(start: int, signatures: Iterable[Signature | None]) -> bool:
    # A file written while it was read may have been read half. File systems count in ticks of
    # up to 10 ms.
    tick = 10_000_000
    return any(found is None or max(found[2:]) > start - tick for found in signatures)


#: This process's; a fork takes it along.
CACHE = DagCache()
