"""The queue model that runs, for a view that is open while `airlane apply` changes it."""

from __future__ import annotations

from pathlib import Path

from airflow_config import queues
from airflow_config.queues import Fleet
from airlane.reach import Reach


class ModelInUse:
    """Follows the file that a stack was started with; it is read again only when it changed.

    Parameters
    ----------
    reached
        What is reached, with the queue model of now.
    """

    def __init__(self, reached: Reach) -> None:
        self._file = reached.queues_file
        self._fleet = reached.fleet
        # None: it may have changed since the model was read, so the first look reads it
        self._seen: tuple[int, ...] | None = None

    def now(self) -> Fleet:
        """Return the queue model that runs now.

        Raises
        ------
        QueuesError
            When the file has changed and can't be read; the next look tries again.
        """
        state = _state(self._file)
        # gone with the stack: whoever looks hears that from its servers
        if state is not None and state != self._seen:
            self._fleet = queues.load(self._file)
            self._seen = state
        return self._fleet


def _state(file: Path) -> tuple[int, ...] | None:
    """Return what differs once a file is written anew: each write puts another in its place."""
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
