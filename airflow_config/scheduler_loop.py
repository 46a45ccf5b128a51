"""The scheduler's loop, bounded: what touches Airflow's scheduler from inside is put in place here.

Read from Airflow 3.3.2. It has no extension point for which DagRuns a loop examines, nor for
waking it, so these functions are replaced or wrapped when the executor starts in a scheduler:

- `SchedulerJobRunner._do_scheduling`: before it, the loop waits for a change (see `wakeup`); it is
  repeated while there are changes (see `scheduler_passes`).
- `DagRun.get_running_dag_runs_to_examine`: changed runs (see `changed_runs`), urgent ones first
  (see `agenda`).
- `SchedulerJobRunner._create_dagruns_for_dags`, `_start_queued_dagruns`: when there is something
  to create or start, and twice a second otherwise; few are created at a time while an urgent run
  is on its way (`DagModel.NUM_DAGS_PER_DAGRUN_QUERY`).
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
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
from airflow.models.dag import DagModel
from airflow.models.dag_version import DagVersion
from airflow.models.dagrun import DagRun
from airflow.models.pool import Pool

from airflow_config import changed_runs, run_examination, scheduler_passes
from airflow_config.agenda import IDLE, Agenda, Run, Work
from airflow_config.changed_runs import CANDIDATES, LOOK, ChangedRuns
from airflow_config.large_runs import LargeRuns
from airflow_config.scheduler_candidates import Candidates

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from airflow_config.queues import Fleet
    from airflow_config.wakeup import Change, WakeUp

#: So many passes that create few runs, and the last of them looks at as many DAGs as Airflow does.
LOOK_FURTHER = 4
#: Seconds after which a DAG is read again.
REREAD = 10

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
    clock
        Gives seconds; for tests.
    """

    def __init__(
        self, fleet: Fleet, wakeup: WakeUp, clock: Callable[[], float] = time.monotonic
    ) -> None:
        default = fleet.default_queue
        self._wakeup = wakeup
        self._urgent_pools = {
            q.name for q in fleet.queues.values() if q.priority > default.priority
        }
        self.agenda = Agenda(default.priority, clock)
        self._created_at = self._started_at = self._looked_at = float("-inf")
        self._runs = ChangedRuns(wakeup, default.priority, clock)
        self._large = LargeRuns()
        self._candidates = Candidates(self._is_examined)
        self._creations = 0
        #: Ids of the queued runs that the last pass could start, when there may be more.
        self._startable: set[int] = set()
        self._runner: Any = None
        #: DAGs of which every running run is looked at in the next loop.
        self._whole: set[str] = set()
        #: DAGs whose runs wait for one another.
        self._linked: set[str] = set()
        self._dags_read: dict[str, float] = {}
        self._limit = DagRun.DEFAULT_DAGRUNS_TO_EXAMINE

    def install(self) -> None:
        """Put the functions in their places, in this process."""
        runner: Any = SchedulerJobRunner
        candidates = self._candidates
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
        """Wait for something to do and schedule; None when there is nothing for so long."""
        agenda = self.agenda
        end = time.monotonic() + seconds
        # The session has not spoken to the database yet, so it holds no connection here.
        while True:
            now = time.monotonic()
            wait = self._patience(now)
            self._note(self._wakeup.wait(max(0.0, min(wait, end - now))))
            start = time.monotonic()
            # What was told may be batch work that has to wait for its turn.
            if self._patience(start) <= 0:
                break
            if start >= end:
                return None
        self._looked_at = start
        looks: tuple[tuple[Work, float], ...] = (
            ("create", self._created_at),
            ("start", self._started_at),
        )
        agenda.begin([work for work, at in looks if start - at >= LOOK])
        scheduler_passes.remember_versions(session)
        try:
            queued = stock(runner, session)
        finally:
            scheduler_passes.forget_versions(session)
        if self._candidates.shut_out:
            agenda.retry()
        if agenda.batch_pass:
            agenda.passed(time.monotonic() - start)
        return queued

    def _patience(self, now: float) -> float:
        """Return how many seconds are left until there is something to do."""
        if self._whole:
            return 0.0
        return min(self.agenda.patience(), self._looked_at + IDLE - now)

    def _note(self, changes: list[Change]) -> None:
        self.agenda.note(changes)
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
            agenda = self.agenda
            now = time.monotonic()
            if now - self._created_at < LOOK or not agenda.does("create"):
                return
            self._created_at = now
            usual = DagModel.NUM_DAGS_PER_DAGRUN_QUERY
            # DAGs of which no run can be created stay the first ones: some passes look further.
            self._creations += 1
            few = self._creations % LOOK_FURTHER
            DagModel.NUM_DAGS_PER_DAGRUN_QUERY = agenda.allowance("create", usual) if few else usual
            try:
                stock(runner, guard, session)
            finally:
                DagModel.NUM_DAGS_PER_DAGRUN_QUERY = usual

        return create_dagruns

    def _around_starting(self, stock: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(stock)
        def start_queued(runner: Any, session: Session) -> None:
            now = time.monotonic()
            looks = now - self._started_at >= LOOK and self.agenda.does("start")
            if looks or self.agenda.new_runs:
                stock(runner, session)

        return start_queued

    def _around_queued(self, stock: Callable[..., Any]) -> Callable[..., Any]:
        def queued_runs(session: Session) -> list[Any]:
            """Return queued runs to start: those just told of, most urgent first, then others."""
            agenda = self.agenda
            told = list(agenda.new_runs)
            agenda.new_runs.clear()
            self._learn(told, session)
            urgent = [run for run in told if agenda.is_urgent(run)]
            runs = self._queued(urgent, session) if urgent else []
            if len(urgent) < len(told):
                # Airflow creates a few runs a loop; when it was our own, more may be due.
                self._created_at = float("-inf")
                agenda.leave("create")
            if agenda.does("start"):
                self._started_at = time.monotonic()
                known = {run.id for run in runs}
                others = list(stock(session))
                runs += [run for run in others if run.id not in known]
                ids = {run.id for run in others}
                # The same ones again can't be started: more passes would not help.
                more = len(others) >= self._limit and ids != self._startable
                self._startable = ids
                if more:
                    self._started_at = float("-inf")
                    agenda.leave("start")
            elif len(urgent) < len(told):
                self._started_at = float("-inf")
                agenda.leave("start")
            for run in runs:
                # Nobody tells that they run.
                agenda.touch((run.dag_id, run.run_id))
            return runs

        return queued_runs

    def _is_examined(self, pool: str) -> bool:
        """Tell whether this loop takes tasks of a pool."""
        return self.agenda.does("examine") or pool in self._urgent_pools

    def runs_to_examine(self, session: Session) -> list[Any]:
        """Return running DagRuns, locked, that this loop examines; see `Agenda.choose`."""
        agenda = self.agenda
        changed = agenda.changed(CANDIDATES)
        whole, self._whole = self._whole, set()
        found = self._runs.told(changed, whole, session)
        found |= self._runs.untold(session, sweeps=agenda.does("examine"))
        # Told of, but not running: it ended, is paused, or is queued and comes by itself.
        agenda.drop(run for run in changed if run not in found)
        self._learn(found, session)
        chosen = agenda.choose(found, self._limit)
        agenda.drop(chosen)
        agenda.keep(run for run in found if run not in chosen)
        wanted = {run: found[run] for run in chosen}
        large = {
            row.id: run
            for run, row in wanted.items()
            if agenda.is_large(run)
            and self._large.may_rest(run[0], agenda.size(run), row.started, row.examined)
        }
        for id_ in changed_runs.nothing_to_schedule(large, session):
            del wanted[large[id_]]
        if not wanted:
            return []
        runs = changed_runs.locked([row.id for row in wanted.values()], session)
        got = {(run.dag_id, run.run_id): run for run in runs}
        agenda.locked(run for run in wanted if run not in got)
        for run in got.values():
            self._read_dag(run, session)
        return [got[run] for run in wanted if run in got]

    def _read_dag(self, run: DagRun, session: Session) -> None:
        """Remember how long runs of a DAG may take, and whether tasks wait for its other runs."""
        now = time.monotonic()
        # Not each time: finding a run's DAG asks the database for its newest version.
        if now - self._dags_read.get(run.dag_id, float("-inf")) < REREAD:
            return
        self._dags_read[run.dag_id] = now
        dag = self._runner and self._runner.scheduler_dag_bag.get_dag_for_run(run, session)
        self._large.limit(run.dag_id, dag.dagrun_timeout if dag else None)
        tasks = dag.tasks if dag else ()
        if any(task.depends_on_past or task.wait_for_downstream for task in tasks):
            self._linked.add(run.dag_id)
        else:
            self._linked.discard(run.dag_id)

    def _learn(self, runs: Iterable[Run], session: Session) -> None:
        """Look up the band and the size of those runs of which they are not known."""
        agenda = self.agenda
        agenda.learn(changed_runs.profiles(agenda.unknown(runs), session))

    def _queued(self, runs: list[Run], session: Session) -> list[DagRun]:
        """Return queued runs among these, locked, most urgent first."""
        found = changed_runs.queued(runs, session)
        return sorted(found, key=lambda run: (-self.agenda.band((run.dag_id, run.run_id)), run.id))
