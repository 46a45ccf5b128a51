"""Rendered files on a host: what would change, said without secrets, and its writing."""

from __future__ import annotations

import difflib
import grp
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from deploy.files import write_private

#: For the owner, root, and the group of who reads it.
_FILE, _FOLDER = 0o640, 0o750
#: A password as Redis keeps it.
_HASH = re.compile(r"#[0-9a-f]{64}\b")
#: The password in an address: also one that the host does not know any more.
_LOGIN = re.compile(r"(://[^:/@\s]*:)[^@\s]+@")
#: Settings whose value is secret as a whole; files below `secrets` are so too.
_SETTING = re.compile(
    r"^(\s*'?(?:fernet_key|jwt_secret|secret_key|cookie_secret|basic_auth)'?\s*=\s*).+$", re.M
)


class RenderError(Exception):
    """Files can't be written as they must be; the text says what to do."""


@dataclass(frozen=True)
class Change:
    """One file that is not as it must be.

    Parameters
    ----------
    path
        The file.
    action
        What happens to it.
    diff
        Lines of a unified diff, with secrets left out.
    """

    path: str
    action: Literal["created", "changed", "removed", "mode"]
    diff: list[str]


def masked(text: str, known: Iterable[str]) -> str:
    """Return a text in which no secret is left: neither a known one nor what looks like one."""
    # the longest first: one may be part of another
    for secret in sorted(known, key=len, reverse=True):
        text = text.replace(secret, "(secret)")
    text = _LOGIN.sub(r"\1(secret)@", text)
    text = _SETTING.sub(r"\1(secret)", text)
    return _HASH.sub("#(hash of a secret)", text)


def compare(
    wanted: Mapping[Path, str], owned: Iterable[Path], known: Iterable[str], group: int | None
) -> list[Change]:
    """Return what has to change on this host.

    Parameters
    ----------
    wanted
        The files that must be there: path -> content.
    owned
        Folders in which nothing else may be: what was rendered for a class that is gone.
    known
        Secrets, for what is shown.
    group
        Number of the group that the files must belong to; None leaves it.

    Raises
    ------
    RenderError
        When a file that is there cannot be read.
    """
    hidden = list(known)
    found = [
        change
        for path, text in sorted(wanted.items())
        if (change := _compare(path, text, hidden, group))
    ]
    found += [
        Change(str(path), "removed", [])
        for folder in owned
        for path in sorted(folder.glob("*"))
        if path not in wanted and not path.name.startswith(".")
    ]
    return found


def _compare(path: Path, text: str, known: list[str], group: int | None) -> Change | None:
    try:
        old = path.read_text(encoding="utf-8")
        stat = path.stat()
    except FileNotFoundError:
        return Change(str(path), "created", _diff(path, "", text, known))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise RenderError(
            f"expected to read {path}, found: {reason}. Fix: run airlane fleet render as root"
        ) from None
    if old != text:
        return Change(str(path), "changed", _diff(path, old, text, known))
    if stat.st_mode & 0o777 != _FILE or group not in (None, stat.st_gid):
        return Change(str(path), "mode", [])
    return None


def _diff(path: Path, old: str, new: str, known: list[str]) -> list[str]:
    if "secrets" in path.parts:
        return ["(the whole content is secret)"]
    before, after = (masked(text, known).splitlines() for text in (old, new))
    lines = list(difflib.unified_diff(before, after, "before", "after", n=1, lineterm=""))
    return lines or ["(secrets alone have changed)"]


def write(wanted: Mapping[Path, str], changes: Iterable[Change], group: int | None) -> None:
    """Make the changes; each file is written whole or not at all.

    Raises
    ------
    RenderError
        When a file cannot be written; what was written before stays, and the next call goes on.
    """
    for change in changes:
        path = Path(change.path)
        try:
            if change.action == "removed":
                path.unlink(missing_ok=True)
                continue
            make_folder(path.parent, group)
            write_private(path, wanted[path], mode=_FILE, group=group)
        except OSError as error:
            raise RenderError(
                f"expected to write {path}, found: {error.strerror}. Fix: run airlane fleet render "
                "as root, on a disk with space"
            ) from None


def make_folder(folder: Path, group: int | None) -> None:
    """Make a folder that is missing, and those above it, for root and a group."""
    missing = [f for f in (folder, *folder.parents) if not f.exists()]
    for path in reversed(missing):
        path.mkdir()
        if group is not None:
            os.chown(path, -1, group)
        path.chmod(_FOLDER)


def group_number(name: str) -> int:
    """Return the number of a group of this host.

    Raises
    ------
    RenderError
        When there is none of this name.
    """
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise RenderError(
            f"expected the group {name}, found none on this host. Fix: the role `base` makes it, "
            "or name another: airlane fleet render --group"
        ) from None
