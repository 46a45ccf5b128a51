"""The scheduler's loop, bounded: the one module that touches Airflow's scheduler from inside.

Read from Airflow 3.3.2. It has no extension point for which DagRuns a loop examines, nor for
waking it, so these functions are replaced or wrapped when the executor starts in a scheduler:

- `SchedulerJobRunner._do_scheduling`: before it, the loop waits for a change (see `wakeup`); it is
  repeated while there are changes (see `scheduler_passes`).
- `DagRun.get_running_dag_runs_to_examine`: changed runs, urgent ones first (see `agenda`).
- `SchedulerJobRunner._create_dagruns_for_dags`, `_start_queued_dagruns`: when there is something
  to create or start, and twice a second otherwise.
- `DagRun.get_queued_dag_runs_to_set_running`: urgent ones first.
- `SchedulerJobRunner._executable_task_instances_to_queued`, `Pool.slots_stats`: only the first
  waiting tasks are ranked, of urgent pools only in an urgent loop (see `scheduler_candidates`).
- `DagVersion.get_latest_version`: asked once for each DAG in a pass (see `scheduler_passes`).
- What one look at a run asks of the database (see `run_examination`).

`scheduler_fit` compares the source of all that this relies on with what was read. When it differs,
nothing is touched: the scheduler is stock, and says so as an error in its log.
docs/upstream.md says what of this could be proposed to Airflow.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
from airflow.models.dag import DagModel
from airflow.models.dag_version import DagVersion
from airflow.models.dagrun import DagRun
from airflow.models.pool import Pool
from airflow.models.taskinstance import TaskInstance as TI  # noqa: N817 - Airflow's own short name
from airflow.utils.sqlalchemy import with_row_locks
from airflow.utils.state import DagRunState
from sqlalchemy import and_, case, false, func, or_, select, true, tuple_
from sqlalchemy.orm import contains_eager

from airflow_config import run_examination, scheduler_passes
from airflow_config.agenda import IDLE, Agenda, Profile, Run
from airflow_config.queues import BAND
from airflow_config.run_filters import examinable, has_timed_tasks, with_nothing_to_schedule
from airflow_config.scheduler_candidates import Candidates

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from airflow_config.queues import Fleet
    from airflow_config.wakeup import Change, WakeUp

#: Seconds between looks for schedules that are due and for queued runs, when nobody told of any.
LOOK = 0.5
#: Seconds after which a running run is examined though nothing was told of it: when something
#: in it could be scheduled, and in any case (a run's own time-out).
SWEEP, SWEEP_ALL = 15, 60
#: Seconds for both while notifications are not heard: as stock Airflow, which polls.
SWEEP_DEAF = 1
#: The same for a run with a task that waits for a time: a retry's delay, a sensor's next look.
SWEEP_TIMED = 1
#: Seconds after which a DAG is looked at again for tasks that wait for other runs.
LINKS = 10
#: Candidates read per loop, and runs whose last sweep is remembered.
_CANDIDATES, _REMEMBERED = 200, 20_000

#: What `install` put others in the place of.
_STOCK: list[tuple[Any, str, Any]] = []


def withdraw() -> None:
    """Put Airflow's own functions back, as before `SchedulerLoop.install`."""
    while _STOCK:
        owner, name, stock = _STOCK.pop()
        setattr(owner, name, stock)


class SchedulerLoop:
    """What the replaced functions do, and the state that they share.

    Parameters
    ----------
    fleet
        The queue model: bands and pools.
    wakeup
        Tells of changes.
    """

    def __init__(self, fleet: Fleet, wakeup: WakeUp) -> None:
        default = fleet.default_queue
        self._wakeup = wakeup
        self._urgent_pools = {
            q.name for q in fleet.queues.values() if q.priority > default.priority
        }
        self.agenda = Agenda(default.priority)
        self._created_at = self._started_at = self._looked_at = float("-inf")
        self._swept: dict[Run, float] = {}
        self._heard_since = wakeup.since
        self._runner: Any = None
        #: DAGs of which every running run is looked at in the next loop.
        self._whole: set[str] = set()
        #: DAGs whose runs wait for one another.
        self._linked: set[str] = set()
        self._links_read: dict[str, float] = {}
        self._limit = DagRun.DEFAULT_DAGRUNS_TO_EXAMINE

    def install(self) -> None:
        """Put the functions in their places, in this process."""
        runner: Any = SchedulerJobRunner
        candidates = Candidates(self._is_examined)
        wraps: tuple[run_examination.Wrap, ...] = (
            (runner, "_do_scheduling", self._around_scheduling),
            (runner, "_create_dagruns_for_dags", self._around_creating),
            (runner, "_start_queued_dagruns", self._around_starting),
            (runner, "_executable_task_instances_to_queued", candidates.around_queueing),
            (DagRun, "get_running_dag_runs_to_examine", lambda _: self.runs_to_examine),
            (DagRun, "get_queued_dag_runs_to_set_running", self._around_queued),
            (Pool, "slots_stats", lambda stock: staticmethod(candidates.around_pools(stock))),
            (DagVersion, "get_latest_version", scheduler_passes.newest_version),
        )
        for owner, name, wrap in (*wraps, *run_examination.WRAPS):
            _STOCK.append((owner, name, owner.__dict__[name]))
            setattr(owner, name, wrap(getattr(owner, name)))

    def _around_scheduling(self, stock: Callable[..., int]) -> Callable[..., int]:
        @functools.wraps(stock)
        def do_scheduling(runner: Any, session: Session) -> int:
            self._runner = runner
            once = functools.partial(self._schedule, stock, runner, session)
            return scheduler_passes.repeat(runner, session, once)

        return do_scheduling

    def _schedule(
        self, stock: Callable[..., int], runner: Any, session: Session, seconds: float
    ) -> int | None:
        """Wait for a change and schedule; None when nothing happened and nothing is due."""
        agenda = self.agenda
        patience = agenda.patience()
        # The session has not spoken to the database yet, so it holds no connection here.
        changes = self._wakeup.wait(max(0.0, min(patience, seconds)))
        start = time.monotonic()
        if not changes and seconds < patience and start - self._looked_at < IDLE:
            return None
        self._looked_at = start
        self._note(changes)
        agenda.begin()
        scheduler_passes.remember_versions(session)
        try:
            queued = stock(runner, session)
        finally:
            scheduler_passes.forget_versions(session)
        if agenda.batch_pass:
            agenda.passed(time.monotonic() - start)
        return queued

    def _note(self, changes: list[Change]) -> None:
        self.agenda.note(changes)
        if self.agenda.new_runs:
            # Airflow creates a few runs a loop; when it was our own, more schedules may be due.
            self._created_at = float("-inf")
        self._whole |= {
            change.dag_id
            for change in changes
            if change.kind == "dag" or change.dag_id in self._linked
        }
        if any(change.kind == "dag" for change in changes):
            self._started_at = float("-inf")

    def _around_creating(self, stock: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(stock)
        def create_dagruns(runner: Any, guard: Any, session: Session) -> None:
            now = time.monotonic()
            if now - self._created_at >= LOOK and self.agenda.batch_pass:
                self._created_at = now
                stock(runner, guard, session)

        return create_dagruns

    def _around_starting(self, stock: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(stock)
        def start_queued(runner: Any, session: Session) -> None:
            now = time.monotonic()
            if self.agenda.new_runs or (now - self._started_at >= LOOK and self.agenda.batch_pass):
                stock(runner, session)

        return start_queued

    def _around_queued(self, stock: Callable[..., Any]) -> Callable[..., Any]:
        def queued_runs(session: Session) -> list[Any]:
            """Return queued runs to start: those just told of, most urgent first, then others."""
            told = list(self.agenda.new_runs)
            self.agenda.new_runs.clear()
            self._learn(self.agenda.unknown(told), session)
            urgent = [run for run in told if self.agenda.is_urgent(run)]
            runs = self._queued(urgent, session) if urgent else []
            if self.agenda.batch_pass:
                self._started_at = time.monotonic()
                known = {run.id for run in runs}
                runs += [run for run in stock(session) if run.id not in known]
            return runs

        return queued_runs

    def _is_examined(self, pool: str) -> bool:
        """Tell whether this loop takes tasks of a pool."""
        return self.agenda.batch_pass or pool in self._urgent_pools

    def runs_to_examine(self, session: Session) -> list[Any]:
        """Return running DagRuns, locked, that this loop examines; see `Agenda.choose`."""
        agenda = self.agenda
        changed = agenda.changed(_CANDIDATES)
        found = self._candidates(changed, session)
        # Told of, but not running: it ended, is paused, or is queued and comes by itself.
        agenda.drop(run for run in changed if run not in found)
        self._learn(agenda.unknown(found), session)
        chosen = agenda.choose(found, self._limit)
        agenda.drop(chosen)
        agenda.keep(run for run in found if run not in chosen)
        wanted = {run: found[run] for run in chosen}
        due = datetime.now(UTC) - timedelta(seconds=SWEEP_ALL)
        large = {
            id_: run
            for run, (id_, examined) in wanted.items()
            if examined is not None and examined > due and agenda.is_large(run)
        }
        for id_ in self._nothing_to_schedule(large, session):
            del wanted[large[id_]]
        if not wanted:
            return []
        runs = self._locked([id_ for id_, _ in wanted.values()], session)
        got = {(run.dag_id, run.run_id): run for run in runs}
        agenda.locked(run for run in wanted if run not in got)
        for run in got.values():
            self._note_links(run, session)
        return [got[run] for run in wanted if run in got]

    def _note_links(self, run: DagRun, session: Session) -> None:
        """Remember whether tasks of this DAG wait for those of its other runs."""
        now = time.monotonic()
        # Not each time: finding a run's DAG asks the database for its newest version.
        if now - self._links_read.get(run.dag_id, float("-inf")) < LINKS:
            return
        self._links_read[run.dag_id] = now
        dag = self._runner and self._runner.scheduler_dag_bag.get_dag_for_run(run, session)
        tasks = dag.tasks if dag else ()
        if any(task.depends_on_past or task.wait_for_downstream for task in tasks):
            self._linked.add(run.dag_id)
        else:
            self._linked.discard(run.dag_id)

    def _candidates(
        self, changed: list[Run], session: Session
    ) -> dict[Run, tuple[int, datetime | None]]:
        """Return running runs that changed, were never examined, or not for long.

        Their values are the row's id and the time of the last examination.
        """
        told = or_(
            tuple_(DagRun.dag_id, DagRun.run_id).in_(changed) if changed else false(),
            DagRun.dag_id.in_(self._whole) if self._whole else false(),
        )
        seen = DagRun.last_scheduling_decision
        sweep = SWEEP if self._wakeup.listening else SWEEP_DEAF
        if self._wakeup.since != self._heard_since:
            # What happened before this connection was told to nobody.
            self._heard_since = self._wakeup.since
            self._swept.clear()
        now = datetime.now(UTC)
        due = max(now - timedelta(seconds=sweep), self._heard_since)
        # There may be many runs that nobody told of: not in a pass for urgent work.
        sweeps = self.agenda.batch_pass or not self._wakeup.listening
        swept = and_(seen < due, true() if sweeps else false())
        timed = and_(seen < now - timedelta(seconds=SWEEP_TIMED), has_timed_tasks())
        rows = session.execute(
            select(DagRun.id, DagRun.dag_id, DagRun.run_id, seen, timed)
            .join(DagModel, DagModel.dag_id == DagRun.dag_id)
            .where(*examinable(), or_(told, seen.is_(None), swept, timed))
            # What was told of is never cut off, so that what is missing is known not to run.
            .order_by(case((told, 0), else_=1), seen.nulls_first(), DagRun.run_after)
            .limit(len(changed) + _CANDIDATES)
        )
        found = {}
        quiet: dict[int, Run] = {}
        asked = set(changed)
        whole, self._whole = self._whole, set()
        clock = time.monotonic()
        for id_, dag_id, run_id, examined, is_timed in rows:
            run = (dag_id, run_id)
            if run not in asked and dag_id not in whole and examined is not None:
                # Once per sweep: it may be left alone, and then its time does not change.
                every = SWEEP_TIMED if is_timed else sweep
                if clock - self._swept.get(run, float("-inf")) < every:
                    continue
                self._swept[run] = clock
                if not is_timed and examined > now - timedelta(seconds=SWEEP_ALL):
                    quiet[id_] = run
            found[run] = (id_, examined)
        for id_ in self._nothing_to_schedule(quiet, session):
            del found[quiet[id_]]
        if len(self._swept) > _REMEMBERED:
            self._swept = {r: at for r, at in self._swept.items() if clock - at < sweep}
        return found

    def _learn(self, runs: list[Run], session: Session) -> None:
        """Look up the band and the size of runs."""
        if not runs:
            return
        rows = session.execute(
            select(TI.dag_id, TI.run_id, func.max(TI.priority_weight), func.count())
            .where(tuple_(TI.dag_id, TI.run_id).in_(runs))
            .group_by(TI.dag_id, TI.run_id)
        )
        profiles = {(dag, run): Profile(weight // BAND, size) for dag, run, weight, size in rows}
        self.agenda.learn({run: profiles.get(run, Profile(0, 0)) for run in runs})

    def _nothing_to_schedule(self, runs: Collection[int], session: Session) -> list[int]:
        """Return which of these runs have only running and waiting tasks left.

        An examination reads every task instance of a run. It cannot do anything before one of
        them ends and another waits for it, or all have ended.
        """
        return list(session.scalars(with_nothing_to_schedule(runs))) if runs else []

    def _locked(self, ids: list[int], session: Session) -> list[DagRun]:
        query = select(DagRun).join(DagRun.dag_model).where(DagRun.id.in_(ids), *examinable())
        # The examination asks for the DAG.
        query = query.options(contains_eager(DagRun.dag_model))
        locked = with_row_locks(query, of=DagRun, session=session, skip_locked=True)
        return list(session.scalars(locked).unique())

    def _queued(self, runs: list[Run], session: Session) -> list[DagRun]:
        """Return queued runs among these, locked, in this order."""
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
        locked = with_row_locks(query, of=DagRun, session=session, skip_locked=True)
        found = session.scalars(locked).unique()
        return sorted(found, key=lambda run: (-self.agenda.band((run.dag_id, run.run_id)), run.id))
