"""Batch work that comes for as long as a test lasts, whatever a play restarts meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import httpx
import pytest

from tests.hosts.fleet import Fleet

#: Seconds between two tries, while no API server answers.
_PAUSE = 1.0


class Load:
    """Runs of `fleet_sleepers`, started so that some of their tasks always wait.

    Parameters
    ----------
    fleet
        Where they run.
    count, seconds
        Tasks of a run, and how long each takes.
    """

    def __init__(self, fleet: Fleet, count: int, seconds: float) -> None:
        self._fleet = fleet
        self._count, self._seconds = count, seconds
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._guard, name="load", daemon=True)
        self._trouble = ""
        self.runs: list[str] = []

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def end(self) -> None:
        """Start no more runs."""
        self._end.set()
        self._thread.join(timeout=120)

    def expect_success(self, deadline: float) -> None:
        """Await the success of all runs that were started."""
        assert not self._trouble, self._trouble
        for run in self.runs:
            self._fleet.await_run(run, deadline)

    def _guard(self) -> None:
        try:
            self._keep()
        except (Exception, pytest.fail.Exception) as error:
            self._trouble = f"the load ended: {type(error).__name__}: {error}"

    def _keep(self) -> None:
        while not self._end.is_set():
            if self._is_short():
                # no API server for a moment; one that took it all the same gives a run more
                with suppress(httpx.TransportError, AssertionError):
                    conf = {"count": self._count, "seconds": self._seconds}
                    self.runs.append(self._fleet.trigger("fleet_sleepers", **conf))
            self._end.wait(_PAUSE)

    def _is_short(self) -> bool:
        """Tell whether fewer tasks wait than one run has, and none is still to be expanded."""
        waiting = self._fleet.rows(
            "airflow",
            "SELECT map_index FROM task_instance WHERE dag_id = 'fleet_sleepers' "
            "AND task_id = 'sleep' AND (state IS NULL OR state IN ('scheduled', 'queued'))",
        )
        return len(waiting) < self._count and all(task["map_index"] >= 0 for task in waiting)


@contextmanager
def load(fleet: Fleet, *, count: int, seconds: float, deadline: float = 600) -> Iterator[Load]:
    """Keep batch tasks waiting; at the end all of them must succeed.

    Parameters
    ----------
    fleet
        Where they run.
    count
        Tasks of a run; as many wait, at least, when it is more than the hosts' slots.
    seconds
        How long each takes.
    deadline
        Seconds for each run that is left at the end.
    """
    made = Load(fleet, count, seconds)
    made.start()
    try:
        yield made
    except BaseException:
        made.end()
        raise
    made.end()
    made.expect_success(deadline)
