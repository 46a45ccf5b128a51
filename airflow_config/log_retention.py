"""Task logs are kept for a while: Airflow itself never deletes one."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

#: Age at which the log of a task or of a DAG file's parse is deleted.
KEEP = timedelta(days=30)


def prune(folder: Path, keep: timedelta = KEEP) -> tuple[int, int]:
    """Delete log files that nobody has written to for `keep`, and folders that they leave empty.

    Parameters
    ----------
    folder
        The base folder of the task logs. Links are not followed.
    keep
        Age by the time of the last write.

    Returns
    -------
    tuple of int
        Files deleted, and their bytes.
    """
    oldest = time.time() - keep.total_seconds()
    files = size = 0
    for where, _, names in os.walk(folder, topdown=False):
        for name in names:
            # A log that is shipped at this moment has another name a moment later.
            with suppress(FileNotFoundError):
                path = Path(where, name)
                stat = path.lstat()
                if stat.st_mtime < oldest:
                    path.unlink()
                    files, size = files + 1, size + stat.st_size
        with suppress(OSError):  # not empty, or gone
            if Path(where) != folder and Path(where).lstat().st_mtime < oldest:
                Path(where).rmdir()
    return files, size
