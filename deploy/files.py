"""Files that hold secrets, written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path


def write_private(path: Path, text: str, *, mode: int = 0o600, group: int | None = None) -> None:
    """Write a file that only its owner may read, or its group too, whole or not at all.

    Also through a power cut: a name never stands for a file whose content is not on the disk.

    Parameters
    ----------
    path, text
        The file and its content.
    mode
        Its permissions.
    group
        Number of the group that it belongs to; the writer's own by default.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    # for nobody else until it has its group
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            if group is not None:
                os.fchown(descriptor, -1, group)
            os.fchmod(descriptor, mode)
            file.flush()
            os.fsync(descriptor)
        temporary.replace(path)
    except BaseException:
        # it may hold a secret, and nobody would look for it
        temporary.unlink(missing_ok=True)
        raise
