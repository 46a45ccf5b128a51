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

#: Begins the name of what is being deleted.
_GONE = ".deleted-"


def main() -> None:
    """Delete, and print `{"deleted": [...], "kept": [...]}`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path, help="the folder of releases/ and environments/")
    parser.add_argument("--keep", type=int, required=True, help="how many others are kept")
    parser.add_argument("--check", action="store_true", help="delete nothing, only say what")
    arguments = parser.parse_args()
    kept, deleted = plan(arguments.root, arguments.keep, running_releases(arguments.root))
    deleted = [*left_over(arguments.root), *deleted]
    if not arguments.check:
        for path in deleted:
            delete(path)
    found = {"deleted": [str(path) for path in deleted], "kept": [str(path) for path in kept]}
    print(json.dumps(found))  # noqa: T201 - the role reads it


def left_over(root: Path) -> list[Path]:
    """Return what an interrupted call has not deleted whole."""
    return sorted(root.glob(f"*/{_GONE}*"))


def delete(path: Path) -> None:
    """Delete a release or an environment; interrupted, it leaves none that seems whole.

    Its marker says that it is, and goes at any time with the other files: the next release that
    needs this environment would run from half of it. So it loses its name first.
    """
    gone = path
    if not path.name.startswith(_GONE):
        gone = path.rename(path.with_name(_GONE + path.name))
    shutil.rmtree(gone)


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
    markers = [
        marker
        for marker in (root / "releases").glob("*/release.json")
        if not marker.parent.name.startswith(_GONE)
    ]
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
        if marker.parent.name.startswith(_GONE):
            continue
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
