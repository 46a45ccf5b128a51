"""Several passes of scheduling in one loop of the scheduler.

A loop of Airflow's scheduler (`SchedulerJobRunner._run_scheduler_loop`) schedules, has the executor
send, and then looks at what may be polled: deadlines, callbacks, tests of connections, what the
executor saw ending, its own heartbeat, timers. A step of an urgent run needs the first two only.
So they are repeated as long as there are changes, and the rest comes once a second, when one pass
has done nothing for that long, or at once when the executor tells of anything but success.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from airflow.models.dag_version import DagVersion
from airflow.utils.state import TaskInstanceState

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

#: Seconds between the parts of Airflow's loop that are not scheduling.
REST = 1.0

#: Where a session keeps the versions of DAGs that a pass has looked up.
_VERSIONS = "airlane_newest_versions"
#: Events of an executor that may wait: the database has them already.
_KNOWN = frozenset({TaskInstanceState.SUCCESS, TaskInstanceState.QUEUED})


def repeat(
    runner: Any,
    session: Session,
    schedule: Callable[[float], int | None],
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """Schedule and send until the rest of the loop is due; return how many tasks were queued.

    Parameters
    ----------
    runner
        The scheduler.
    session
        Its session of this loop.
    schedule
        Waits for a change, for so many seconds at most, and schedules; returns how many tasks it
        queued, None when there was nothing to look at.
    """
    due = clock() + REST
    queued = 0
    while (found := schedule(due - clock())) is not None:
        queued += found
        # With a number of loops given (tests, maintenance), each of them is Airflow's.
        if clock() >= due or runner.num_runs > 0:
            break
        # As at the end of a loop's session: nothing is kept, and no connection is held.
        session.expunge_all()
        session.commit()
        session.close()
        for executor in runner.executors:
            executor.heartbeat()
        if _has_news(runner):
            break
    return queued


def _has_news(runner: Any) -> bool:
    return any(
        state not in _KNOWN
        for executor in runner.executors
        for state, _ in executor.event_buffer.values()
    )


def remember_versions(session: Session) -> None:
    """Have `newest_version` ask for each DAG once from now on."""
    session.info[_VERSIONS] = {}


def forget_versions(session: Session) -> None:
    """Have `newest_version` ask each time again."""
    session.info.pop(_VERSIONS, None)


def newest_version(stock: Callable[..., Any]) -> Any:
    """Wrap `DagVersion.get_latest_version`: a pass asks three times for each run it examines."""

    def get_latest_version(
        _cls: type[DagVersion], /, dag_id: str, **others: Any
    ) -> DagVersion | None:
        session = others.get("session")
        known = session.info.get(_VERSIONS) if session and len(others) == 1 else None
        if known is None:
            found: DagVersion | None = stock(dag_id, **others)
            return found
        if known.get(dag_id) is None:
            known[dag_id] = stock(dag_id, **others)
        return known[dag_id]

    return classmethod(get_latest_version)
