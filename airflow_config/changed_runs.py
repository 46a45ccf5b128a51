"""Looks up which running DagRuns there is something to do in, and what is known of runs.

What was told of is looked up at once, by its key. What nobody tells of is looked for from time to
time: it takes a look at every running run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow.models.dag import DagModel
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance as TI  # noqa: N817 - Airflow's own short name
from airflow.utils.sqlalchemy import with_row_locks
from airflow.utils.state import DagRunState
from sqlalchemy import and_, func, or_, select, tuple_
from sqlalchemy.orm import contains_eager

from airflow_config.agenda import Profile, Run
from airflow_config.large_runs import SWEEP_ALL
from airflow_config.queues import BAND
from airflow_config.run_filters import examinable, has_timed_tasks, with_nothing_to_schedule

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from airflow_config.wakeup import WakeUp

#: Seconds between looks for what nobody tells of.
LOOK = 0.5
#: Seconds after which a running run is examined though nothing was told of it, when something in
#: it could be scheduled; in any case, see `large_runs`.
SWEEP = 15
#: Seconds for both while notifications are not heard: as stock Airflow, which polls.
SWEEP_DEAF = 1
#: The same for a run with a task that waits for a time: a retry's delay, a sensor's next look.
SWEEP_TIMED = 1
#: Runs looked up at a time, and runs whose last sweep is remembered.
CANDIDATES, _REMEMBERED = 200, 20_000


class Seen(NamedTuple):
    """The id of a run's row, when the run was examined last, and when it was started."""

    id: int
    examined: datetime | None
    started: datetime | None


Found = dict[Run, Seen]


class ChangedRuns:
    """Finds running runs.

    Parameters
    ----------
    wakeup
        Tells of changes; what happened while it did not is told to nobody.
    batch_band
        Priority of the default queue; runs above it are urgent.
    clock
        Gives seconds; for tests.
    """

    def __init__(
        self, wakeup: WakeUp, batch_band: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._wakeup = wakeup
        self._clock = clock
        self._urgent = has_timed_tasks((batch_band + 1) * BAND)
        self._swept: dict[Run, float] = {}
        #: Up to when runs were examined that the last sweep came to; None begins anew.
        self._swept_to: datetime | None = None
        self._heard_since = wakeup.since
        self._looked_at = self._swept_at = float("-inf")

    def told(self, changed: Collection[Run], whole: Collection[str], session: Session) -> Found:
        """Return those of these runs, and of all runs of some DAGs, that are running."""
        found: Found = {}
        if changed:
            named = tuple_(DagRun.dag_id, DagRun.run_id).in_(changed)
            found |= self._running(session, named, len(changed))
        if whole:
            found |= self._running(session, DagRun.dag_id.in_(whole), CANDIDATES)
        return found

    def _running(self, session: Session, condition: Any, limit: int, *first: Any) -> Found:
        seen = DagRun.last_scheduling_decision
        rows = session.execute(
            select(DagRun.dag_id, DagRun.run_id, DagRun.id, seen, DagRun.start_date)
            .join(DagModel, DagModel.dag_id == DagRun.dag_id)
            .where(*examinable(), condition)
            .order_by(*first, seen.nulls_first(), DagRun.run_after)
            .limit(limit)
        )
        return {(dag_id, run_id): Seen(*columns) for dag_id, run_id, *columns in rows}

    def untold(self, session: Session, *, sweeps: bool) -> Found:
        """Return running runs that were never examined, or not for long, twice a second.

        Parameters
        ----------
        sweeps
            Also those that were examined and in which nothing waits for a time: there may be many.
        """
        clock = self._clock()
        if self._wakeup.since != self._heard_since:
            # What happened before this connection was told to nobody.
            self._heard_since = self._wakeup.since
            self._swept.clear()
            self._swept_to = None
            self._looked_at = self._swept_at = float("-inf")
        sweeps = sweeps or not self._wakeup.listening
        # By a clock of its own: looks without sweeps are far more frequent while much is urgent.
        if clock - (self._swept_at if sweeps else self._looked_at) < LOOK:
            return {}
        self._looked_at = clock
        now = datetime.now(UTC)
        seen = DagRun.last_scheduling_decision
        timed = and_(seen < now - timedelta(seconds=SWEEP_TIMED), has_timed_tasks())
        # Batch may wait for so many times (sensors) that an urgent retry would come much later.
        rows = self._running(session, or_(seen.is_(None), timed), CANDIDATES, self._urgent.desc())
        found = self._not_lately(rows, SWEEP_TIMED)
        if sweeps:
            self._swept_at = clock
            # A query of its own: runs that rest are the first of all, and would hide those above.
            found |= self._sweep(session, now)
        if len(self._swept) > _REMEMBERED:
            self._swept = {r: at for r, at in self._swept.items() if clock - at < SWEEP}
        return found

    def _sweep(self, session: Session, now: datetime) -> Found:
        """Return the next runs that were not examined for long, but for those that may rest."""
        seen = DagRun.last_scheduling_decision
        sweep = SWEEP if self._wakeup.listening else SWEEP_DEAF
        due = seen < max(now - timedelta(seconds=sweep), self._heard_since)
        if self._swept_to is not None:
            due = and_(due, seen >= self._swept_to)
        rows = self._running(session, due, CANDIDATES)
        # One that rests stays among the first: the next look goes on behind it.
        is_last = len(rows) < CANDIDATES
        self._swept_to = None if is_last else [row.examined for row in rows.values()][-1]
        found = self._not_lately(rows, sweep)
        recent = now - timedelta(seconds=SWEEP_ALL)
        quiet = {r.id: run for run, r in found.items() if r.examined and r.examined > recent}
        for id_ in nothing_to_schedule(quiet, session):
            del found[quiet[id_]]
        return found

    def _not_lately(self, rows: Found, seconds: float) -> Found:
        """Return those of these runs that no sweep has found for so long, and remember them."""
        clock = self._clock()
        found = {
            run: row
            for run, row in rows.items()
            if row.examined is None or clock - self._swept.get(run, float("-inf")) >= seconds
        }
        # Once per sweep: it may be left alone, and then its time does not change.
        self._swept |= {run: clock for run, row in found.items() if row.examined is not None}
        return found


def profiles(runs: Collection[Run], session: Session) -> dict[Run, Profile]:
    """Return the band and the size of runs."""
    if not runs:
        return {}
    rows = session.execute(
        select(TI.dag_id, TI.run_id, func.max(TI.priority_weight), func.count())
        .where(tuple_(TI.dag_id, TI.run_id).in_(runs))
        .group_by(TI.dag_id, TI.run_id)
    )
    found = {(dag, run): Profile(weight // BAND, size) for dag, run, weight, size in rows}
    return {run: found.get(run, Profile(0, 0)) for run in runs}


def nothing_to_schedule(runs: Collection[int], session: Session) -> list[int]:
    """Return which of these runs have only running and waiting tasks left.

    An examination reads every task instance of a run. It cannot do anything before one of
    them ends and another waits for it, or all have ended.
    """
    return list(session.scalars(with_nothing_to_schedule(runs))) if runs else []


def locked(ids: Collection[int], session: Session) -> Iterable[DagRun]:
    """Return the running ones of these runs, locked, that nobody else holds."""
    query = select(DagRun).join(DagRun.dag_model).where(DagRun.id.in_(ids), *examinable())
    # The examination asks for the DAG.
    query = query.options(contains_eager(DagRun.dag_model))
    found = with_row_locks(query, of=DagRun, session=session, skip_locked=True)
    return session.scalars(found).unique()


def queued(runs: Collection[Run], session: Session) -> Iterable[DagRun]:
    """Return the queued ones of these runs, locked, that nobody else holds."""
    query = (
        select(DagRun)
        .join(DagModel, DagModel.dag_id == DagRun.dag_id)
        .where(
            tuple_(DagRun.dag_id, DagRun.run_id).in_(runs),
            DagRun.state == DagRunState.QUEUED,
            DagRun.backfill_id.is_(None),
            DagRun.run_after <= func.now(),
            ~DagModel.is_paused,
            ~DagModel.is_stale,
        )
    )
    found = with_row_locks(query, of=DagRun, session=session, skip_locked=True)
    return session.scalars(found).unique()
