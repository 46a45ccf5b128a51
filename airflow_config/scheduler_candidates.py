"""The scheduler's critical section, bounded: only the first waiting tasks of each pool are ranked.

Airflow's `SchedulerJobRunner._executable_task_instances_to_queued` ranks every waiting task to
take a few: 150 ms of the database at 20,000. Here its own query sees only the candidates, the
first of each pool by priority and then by age, which an index gives at once. All else of it (slots,
limits of DAGs and tasks, executors, the order) stays Airflow's.

The hook is SQLAlchemy's `do_orm_execute`, set while that function runs. Its result is the one of
the whole query, but for which of equal priority comes first: when the candidates give too few
tasks, or one of less priority than the last candidate of a pool that has more, it takes more.

Before all this comes `scheduler_shortcut`: when all that waits can go, nothing need be ranked.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow.models.taskinstance import TaskInstance as TI  # noqa: N817 - Airflow's own short name
from airflow.ti_deps.dependencies_states import EXECUTION_STATES
from airflow.utils.sqlalchemy import is_lock_not_available_error
from airflow.utils.state import TaskInstanceState
from sqlalchemy import ARRAY, Uuid, any_, event, literal, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import ORMExecuteState, Session, with_loader_criteria

from airflow_config import scheduler_shortcut

if TYPE_CHECKING:
    from uuid import UUID

#: Candidates of each pool to begin with, how many times more at each further attempt, and from
#: how many on Airflow's query is left as it is.
FIRST, MORE, MOST = 128, 4, 8192
#: Seconds after which a pass for all pools is Airflow's own: it names tasks of unknown pools.
WHOLE = 60.0

#: PostgreSQL's code for a lock that somebody else holds (`lock_not_available`).
_LOCKED = "55P03"
#: What takes a slot of a pool, or may.
_OCCUPYING = (*EXECUTION_STATES, TaskInstanceState.DEFERRED)

# A backlog of runs that are full, or of paused DAGs, must not hide the others.
_LOOK = text(
    """
    SELECT first.id, first.pool, first.priority_weight
    FROM unnest(CAST(:pools AS text[])) AS open(pool) CROSS JOIN LATERAL (
        SELECT id, ti.pool, priority_weight FROM task_instance AS ti
        WHERE ti.state = 'scheduled' AND ti.pool = open.pool
            AND (ti.dag_id, ti.run_id) NOT IN (
                SELECT active.dag_id, active.run_id
                FROM task_instance AS active JOIN dag USING (dag_id)
                WHERE active.state = ANY(:executing)
                GROUP BY active.dag_id, active.run_id, dag.max_active_tasks
                HAVING count(*) >= dag.max_active_tasks
            )
            AND ti.dag_id NOT IN (
                SELECT dag_id FROM dag WHERE is_paused OR bundle_name IS NULL
            )
        ORDER BY ti.priority_weight DESC, ti.id
        LIMIT :first
    ) AS first
    """
)
_IDS = ARRAY(Uuid())


@dataclass
class Search:
    """One run through the critical section.

    Parameters
    ----------
    max_tis
        Tasks to take at most.
    """

    max_tis: int
    counting: bool = False
    #: Leave the query as it is.
    whole: bool = False
    pools: list[str] = field(default_factory=list)
    first: int = field(default_factory=lambda: FIRST)
    ids: list[UUID] = field(default_factory=list)
    #: Priority below which candidates may be missing.
    floor: int | None = None

    def open(self, pools: Mapping[str, Any]) -> None:
        """Take over the free slots of each pool."""
        self.pools = [name for name, stats in pools.items() if stats["open"] > 0]
        free = sum(pools[name]["open"] for name in self.pools)
        self.max_tis = int(min(self.max_tis, free))

    def look(self, session: Session) -> None:
        """Find the candidates."""
        values = {
            "pools": self.pools,
            "executing": [state.value for state in EXECUTION_STATES],
            "first": self.first,
        }
        self.ids = []
        last: dict[str, tuple[int, int]] = {}
        for id_, pool, priority in session.execute(_LOOK, values):
            self.ids.append(id_)
            last[pool] = (last.get(pool, (0, 0))[0] + 1, priority)
        cut = [priority for number, priority in last.values() if number >= self.first]
        self.floor = max(cut, default=None)

    def suffices(self, tasks: Sequence[TI]) -> bool:
        """Tell whether Airflow's query over all tasks would give the same priorities."""
        if self.floor is None:
            return True
        return len(tasks) >= self.max_tis and all(
            task.priority_weight >= self.floor for task in tasks
        )


class Candidates:
    """Wraps what is to be bounded.

    Parameters
    ----------
    examined
        Tells whether a pool is looked at in this loop.
    """

    def __init__(self, examined: Callable[[str], bool]) -> None:
        self._examined = examined
        self._search: Search | None = None
        self._whole_at = time.monotonic()
        #: All pools, as of the last time that Airflow read them.
        self._pools: frozenset[str] = frozenset()
        #: Somebody else was in the critical section the last time: nobody tells when it is free.
        self.shut_out = False

    def around_queueing(self, stock: Callable[..., list[TI]]) -> Callable[..., list[TI]]:
        """Wrap `SchedulerJobRunner._executable_task_instances_to_queued`."""

        @functools.wraps(stock)
        def executable(runner: Any, max_tis: int, session: Session) -> list[TI]:
            self.shut_out = False
            try:
                return self._queue(stock, runner, max_tis, session)
            except OperationalError as error:
                named = _named(error)
                self.shut_out = is_lock_not_available_error(named)
                raise named from error

        return executable

    def _queue(
        self, stock: Callable[..., list[TI]], runner: Any, max_tis: int, session: Session
    ) -> list[TI]:
        examined = {pool for pool in self._pools if self._examined(pool)}
        if examined and not (examined == self._pools and self._whole_is_due()):
            tasks = scheduler_shortcut.queue(runner, max_tis, session, self._pools, examined)
            if tasks is not None:
                return tasks
        self._search = Search(max_tis)
        event.listen(session, "do_orm_execute", self._on_execute)
        try:
            return stock(runner, max_tis, session=session)
        finally:
            event.remove(session, "do_orm_execute", self._on_execute)
            self._search = None

    def around_pools(self, stock: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap `Pool.slots_stats`: pools of no interest show no open slot."""

        @functools.wraps(stock)
        def slots_stats(*args: Any, **kwargs: Any) -> Any:
            # With locked rows it is the critical section; metrics ask without.
            if not kwargs.get("lock_rows"):
                return stock(*args, **kwargs)
            search = self._search or Search(0)
            search.counting = True
            pools = stock(*args, **kwargs)
            search.counting = False
            self._pools = frozenset(pools)
            for name, stats in pools.items():
                if not self._examined(name):
                    stats["open"] = 0
            if self._search:
                self._begin(pools, kwargs["session"])
            return pools

        return slots_stats

    def _whole_is_due(self) -> bool:
        return time.monotonic() - self._whole_at >= WHOLE

    def _begin(self, pools: dict[str, Any], session: Session) -> None:
        search = self._search
        assert search is not None  # noqa: S101 - for the type checker
        search.open(pools)
        if self._whole_is_due() and all(map(self._examined, pools)):
            self._whole_at = time.monotonic()
            # With a pool that is full, Airflow would read all that waits for it. Another time.
            search.whole = len(search.pools) == len(pools)
            if search.whole:
                return
        if not search.pools:
            return
        search.look(session)
        if not search.ids:
            # Nothing waits: spare the queries that would find that out.
            for stats in pools.values():
                stats["open"] = 0

    def _on_execute(self, state: ORMExecuteState) -> Any:
        search = self._search
        if search is None or not state.is_select:
            return None
        if search.counting:
            # How many wait matters to metrics only, and there may be many.
            occupying = with_loader_criteria(TI, TI.state.in_(_OCCUPYING))
            state.statement = state.statement.options(occupying)
            return None
        if search.whole or not _takes_tasks(state):
            return None
        while search.first <= MOST:
            among = with_loader_criteria(TI, TI.id == any_(literal(search.ids, _IDS)))
            result = state.invoke_statement(statement=state.statement.options(among)).freeze()
            if search.suffices(result().scalars().all()):
                return result()
            search.first *= MORE
            search.look(state.session)
        search.whole = True
        return None


def _named(error: OperationalError) -> OperationalError:
    """Return an error so that Airflow knows a lock that somebody else holds.

    It looks for psycopg 2's `pgcode`; psycopg 3 calls it `sqlstate`. Unknown, the error would end
    the scheduler whenever a pool's row is being changed (Airflow 3.3.2).
    """
    if getattr(error.orig, "sqlstate", None) != _LOCKED:
        return error
    return OperationalError(str(error.orig), params=None, orig=RuntimeError(_LOCKED))


def _takes_tasks(state: ORMExecuteState) -> bool:
    """Tell the query for tasks from those that load what belongs to them, and from counts."""
    if state.is_relationship_load or state.is_column_load:
        return False
    statement: Any = state.statement
    columns = statement.column_descriptions
    return len(columns) == 1 and columns[0]["expr"] is TI
