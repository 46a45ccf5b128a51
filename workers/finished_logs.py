"""The log of a finished task goes to the outbox of its host, from where it is shipped.

The outbox has a folder for each host that keeps logs. A log is linked into it, not copied, under
the name that Airflow's reader finds beside the others of the same try (`attempt=1.log*`,
file_task_handler.py: `_read_from_local`, 3.3.2): a try that was deferred writes a log on each host
that it runs on. The file's number is in the name, so that another file of the same name never
takes the place of one that was shipped.
"""

from __future__ import annotations

import json
import logging
import os
import socket
from pathlib import Path, PurePosixPath
from typing import Any

log = logging.getLogger(__name__)

#: Names the outbox; without it nothing is handed over.
VARIABLE = "AIRLANE_LOG_OUTBOX"
#: Of what is made in the outbox: its group, which the folder hands down, is who ships it.
_UMASK = 0o007


def name_in_outbox(relative: PurePosixPath, host: str, number: int) -> PurePosixPath:
    """Return the name under which a log is shipped.

    Parameters
    ----------
    relative
        Its path below the folder of task logs.
    host
        Where it was written.
    number
        The file's own (`st_ino`).
    """
    return relative.with_name(f"{relative.name}.{host}-{number}.log")


def log_of(arguments: Any) -> PurePosixPath | None:
    """Return the path of a workload's log below the folder of task logs; None when it has none."""
    match arguments:
        case [str(text), *_]:
            pass
        case _:
            return None
    try:
        path = json.loads(text).get("log_path")
    except (ValueError, AttributeError):
        return None
    if not isinstance(path, str) or not path:
        return None
    found = PurePosixPath(path)
    # it becomes a path below a folder of ours
    return None if found.is_absolute() or ".." in found.parts else found


def hand_over(relative: PurePosixPath, logs: Path, outbox: Path, host: str) -> int:
    """Link a log into each folder of the outbox; return how many there are."""
    source = logs / relative
    count = 0
    for target in sorted(outbox.iterdir()):
        link = target / name_in_outbox(relative, host, source.stat().st_ino)
        for last in (False, False, True):
            link.parent.mkdir(parents=True, exist_ok=True)
            try:
                link.hardlink_to(source)
            except FileExistsError:
                pass  # the same file, which has grown since
            except FileNotFoundError:
                # who ships them removes folders that are empty at that moment
                if last:
                    raise
                continue
            break
        count += 1
    return count


def connect() -> None:
    """Have the logs of this process's tasks handed over, where there is an outbox.

    Its group may write then to what this process makes: who ships a log removes it and its folder.
    """
    outbox = os.environ.get(VARIABLE)
    if not outbox:
        return
    os.umask(_UMASK)
    # in workers alone: programs that only name the variable or a log do without Celery
    from celery.signals import task_postrun  # noqa: PLC0415

    host = socket.gethostname()

    def hand_over_log(args: Any = None, **_: object) -> None:
        from airflow.sdk.configuration import conf  # noqa: PLC0415 - loaded with the first task

        relative = log_of(args)
        if relative is None:
            return
        try:
            hand_over(relative, Path(conf.get("logging", "base_log_folder")), Path(outbox), host)
        except OSError as error:
            # the worker's host serves it still, and what is left there is shipped later
            log.warning("The log %s was not handed over: %s", relative, error)

    task_postrun.connect(hand_over_log, weak=False)
