"""When a large run in which nothing can be scheduled is examined nevertheless.

An examination reads every task of a run: 0.25 ms each, a second for 4,000, in which urgent work
waits. Nothing in such a run can be moved on before a task of it ends, which the database tells,
or its DAG is edited (see `run_filters`). What nobody tells is that the run's own time is up.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

#: Seconds after which a run is examined in any case, so that nothing rests for ever on what was
#: not told: at least, and for each of its tasks. So a run of any size takes the same share of the
#: scheduler's time.
SWEEP_ALL, PER_TASK = 60.0, 0.15


class LargeRuns:
    """Knows how long runs may take.

    Parameters
    ----------
    now
        Gives the time; for tests.
    """

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now
        self._limits: dict[str, timedelta] = {}

    def limit(self, dag_id: str, limit: timedelta | None) -> None:
        """Note a DAG's `dagrun_timeout`."""
        if limit is None:
            self._limits.pop(dag_id, None)
        else:
            self._limits[dag_id] = limit

    def may_rest(
        self, dag_id: str, size: int, started: datetime | None, examined: datetime | None
    ) -> bool:
        """Tell whether a run need not be examined while nothing in it can be scheduled.

        Parameters
        ----------
        dag_id, size
            Its DAG, and how many tasks it has.
        started, examined
            When it was started and when it was examined last.
        """
        now = self._now()
        every = timedelta(seconds=max(SWEEP_ALL, PER_TASK * size))
        if examined is None or examined <= now - every:
            return False
        limit = self._limits.get(dag_id)
        return limit is None or started is None or now < started + limit
