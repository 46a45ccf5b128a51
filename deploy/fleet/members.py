"""Which host of an inventory serves which worker class: `members.yml`, written by `scale.yml`.

A change says who joined and who left, never who there is: of two plays of one class, one may drain
a host for hours while the other adds hosts, and neither may undo what the other has written.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from deploy.files import write_private

_HEAD = """\
---
# Which candidate serves which worker class. scale.yml writes this file; to change it by hand, drain
# the host first and run site.yml afterwards.
"""


class MembersError(Exception):
    """The file is not one of members; the text says what was found and what to do."""


class _Dumper(yaml.SafeDumper):
    """Writes a host without variables as `w3:`, as people do."""


_Dumper.add_representer(
    type(None), lambda dumper, _: dumper.represent_scalar("tag:yaml.org,2002:null", "")
)


def change(
    file: Path, classes: Iterable[str], name: str, joined: Iterable[str], left: Iterable[str]
) -> bool:
    """Note who joined a class and who left it; True when that changed the file.

    Parameters
    ----------
    file
        `members.yml` of an inventory; made when it is missing.
    classes
        All worker classes; what the file says of others is dropped.
    name
        The class that hosts joined and left.
    joined, left
        Names of hosts; those that are there, or gone, already are passed over.
    """
    with _alone(file.parent):
        known = _read(file)
        found = {worker: known.get(worker, {}) for worker in sorted(classes)}
        mine = found[name]
        for host in joined:
            mine.setdefault(host, None)
        for host in left:
            mine.pop(host, None)
        text = _text(found)
        if file.exists() and file.read_text(encoding="utf-8") == text:
            return False
        # it holds no secret, and is to be committed
        write_private(file, text, mode=0o644)
        return True


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the kernel's lock on the inventory's folder: it needs no file, and leaves none."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _read(file: Path) -> dict[str, dict[str, Any]]:
    """Return the hosts of each class."""
    if not file.exists():
        return {}
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
        groups = ((content.get("workers") or {}).get("children") or {}).items()
        # .items(): of a list of names dict() would make hosts called by their first letters
        return {
            group.removeprefix("workers_"): dict(((entry or {}).get("hosts") or {}).items())
            for group, entry in groups
        }
    except (AttributeError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise MembersError(
            f"expected workers, children and workers_CLASS with hosts in {file}, found: "
            f"{' '.join(str(error).split())}. "
            "Fix: mend it, or take back what scale.yml wrote last"
        ) from None


def _text(found: Mapping[str, Mapping[str, Any]]) -> str:
    children = {
        f"workers_{name}": {"hosts": dict(sorted(hosts.items()))} if hosts else None
        for name, hosts in found.items()
    }
    return _HEAD + yaml.dump(
        {"workers": {"children": children}}, Dumper=_Dumper, default_flow_style=False
    )
