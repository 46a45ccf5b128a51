"""Delete releases and environments of a host that nothing needs any more.

Kept are the current release, the one before it, those that a process still runs from (a worker
that is being drained keeps its release for hours), and the newest others, with the environments
of all these. Runs with Debian's Python, as root; prints what it did as JSON.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path


def main() -> None:
    """Delete, and print `{"deleted": [...], "kept": [...]}`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path, help="the folder of releases/ and environments/")
    parser.add_argument("--keep", type=int, required=True, help="how many others are kept")
    parser.add_argument("--check", action="store_true", help="delete nothing, only say what")
    arguments = parser.parse_args()
    kept, deleted = plan(arguments.root, arguments.keep, running_releases(arguments.root))
    if not arguments.check:
        for path in deleted:
            shutil.rmtree(path)
    found = {"deleted": [str(path) for path in deleted], "kept": [str(path) for path in kept]}
    print(json.dumps(found))  # noqa: T201 - the role reads it


def plan(root: Path, keep: int, running: set[str]) -> tuple[list[Path], list[Path]]:
    """Return what is kept and what is to be deleted, releases and environments alike.

    Parameters
    ----------
    root
        The folder of `releases/`, `environments/`, `current` and `previous`.
    keep
        How many of the newest releases are kept besides those that are needed.
    running
        Names of releases that a process runs from.
    """
    markers = list((root / "releases").glob("*/release.json"))
    markers.sort(key=lambda marker: marker.stat().st_mtime, reverse=True)
    linked = {(root / link).resolve().name for link in ("current", "previous")}
    kept: list[Path] = []
    deleted: list[Path] = []
    spare = keep
    for marker in markers:
        needed = marker.parent.name in linked | running
        if needed or spare > 0:
            spare -= 0 if needed else 1
            kept.append(marker.parent)
        else:
            deleted.append(marker.parent)
    used = {json.loads((path / "release.json").read_text())["environment"] for path in kept}
    # without its marker an environment is being made, perhaps now: the next run makes it anew
    for marker in sorted((root / "environments").glob("*/.complete")):
        (kept if marker.parent.name in used else deleted).append(marker.parent)
    return kept, deleted


def running_releases(root: Path) -> set[str]:
    """Return the names of the releases that processes have in their PYTHONPATH."""
    prefix = f"PYTHONPATH={root / 'releases'}/".encode()
    found: set[str] = set()
    for file in Path("/proc").glob("[0-9]*/environ"):
        try:
            variables = file.read_bytes().split(b"\0")
        except OSError:
            continue  # it ended
        found.update(v[len(prefix) :].decode() for v in variables if v.startswith(prefix))
    return found


if __name__ == "__main__":
    main()
