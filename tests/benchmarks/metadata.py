"""What the benchmark reads from Airflow's metadata database."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import psycopg

from tests.benchmarks.stages import RunTimes, StepTimes

_RUN = "SELECT queued_at, end_date, state FROM dag_run WHERE dag_id = %s AND run_id = %s"
_STEPS = """
    SELECT task_id, map_index, scheduled_dttm, queued_dttm, start_date, end_date
    FROM task_instance WHERE dag_id = %s AND run_id = %s
    -- not what was skipped, or ended without a worker
    AND scheduled_dttm IS NOT NULL AND queued_dttm IS NOT NULL
    AND start_date IS NOT NULL AND end_date IS NOT NULL
"""
#: What a run leaves behind that must be gone before something else is measured.
_ACTIVE = """
    SELECT (SELECT count(*) FROM dag_run WHERE state IN ('queued', 'running')
            AND dag_id <> ALL(%(besides)s))
         + (SELECT count(*) FROM task_instance WHERE dag_id <> ALL(%(besides)s)
            AND state IN ('queued', 'running', 'restarting', 'deferred'))
"""


class Metadata:
    """A connection to the metadata database.

    Parameters
    ----------
    url
        In libpq's form.
    """

    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url, autocommit=True)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def rows(self, query: str, arguments: Any = None) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        return self._connection.execute(query.encode(), arguments).fetchall()

    def execute(self, statement: str, arguments: Any = None) -> None:
        """Run a statement that has no rows to return."""
        self._connection.execute(statement.encode(), arguments)

    def number(self, query: str, arguments: Any = None) -> int:
        """Return the one number that a query gives."""
        return int(self.rows(query, arguments)[0][0] or 0)

    def ended(self, dag_id: str, run_id: str) -> bool:
        """Say whether a run is over."""
        found = self.rows(_RUN, (dag_id, run_id))
        return bool(found) and found[0][2] in ("success", "failed")

    def run(self, dag_id: str, run_id: str, called: float) -> RunTimes:
        """Return the times of a run that is over."""
        created, end, state = self.rows(_RUN, (dag_id, run_id))[0]
        steps = tuple(
            StepTimes(
                task_id if index < 0 else f"{task_id}[{index}]",
                *(moment.timestamp() for moment in moments),
            )
            for task_id, index, *moments in self.rows(_STEPS, (dag_id, run_id))
        )
        return RunTimes(called, created.timestamp(), end.timestamp(), state, steps)

    def ended_tasks(self, dag_ids: list[str], start: float, end: float) -> int:
        """Count the tasks of some DAGs that succeeded between two moments."""
        return self.number(
            "SELECT count(*) FROM task_instance WHERE dag_id = ANY(%s) AND state = 'success' "
            "AND end_date >= to_timestamp(%s) AND end_date < to_timestamp(%s)",
            (dag_ids, start, end),
        )

    def waiting_tasks(self, dag_ids: list[str]) -> int:
        """Count the tasks of some DAGs that have not begun, in runs that are not over."""
        return self.number(
            "SELECT count(*) FROM task_instance ti JOIN dag_run r USING (dag_id, run_id) "
            "WHERE dag_id = ANY(%s) AND r.state IN ('queued', 'running') "
            "AND (ti.state IS NULL OR ti.state IN ('scheduled', 'queued'))",
            (dag_ids,),
        )

    def active(self, besides: tuple[str, ...] = ()) -> int:
        """Count runs and tasks that are not over, but those of some DAGs."""
        return self.number(_ACTIVE, {"besides": list(besides)})

    def fail_runs(self, *, besides: tuple[str, ...] = (), only: str | None = None) -> None:
        """Give up all runs that are not over: of one DAG, or of all but some.

        By SQL, because it is a matter of clearing up: Airflow's API takes a tenth of a second or
        more for each, and may meet the scheduler in a deadlock.
        """
        arguments = {"besides": list(besides), "only": only}
        chosen = (
            "dag_id <> ALL(%(besides)s) AND (%(only)s::text IS NULL OR dag_id = %(only)s::text)"
        )
        for statement in (
            f"UPDATE dag_run SET state = 'failed', end_date = now() WHERE {chosen} "  # noqa: S608
            "AND state IN ('queued', 'running')",
            # a task that runs finds out at its next heartbeat and ends
            f"UPDATE task_instance t SET state = 'failed', end_date = now() WHERE {chosen} "  # noqa: S608
            "AND (state IS NULL OR state NOT IN ('success', 'failed', 'skipped', 'removed', "
            "'upstream_failed')) AND EXISTS (SELECT 1 FROM dag_run r WHERE r.dag_id = t.dag_id "
            "AND r.run_id = t.run_id AND r.state = 'failed')",
        ):
            with suppress(psycopg.errors.DeadlockDetected):  # whoever calls looks again
                self.execute(statement, arguments)

    def import_errors(self) -> list[str]:
        """Return what went wrong when the DAG files were read."""
        found = self.rows("SELECT filename, stacktrace FROM import_error")
        return [f"{name}: {trace}" for name, trace in found]

    def known_dags(self) -> set[str]:
        """Return the DAGs that a scheduler can run now."""
        return {
            row[0]
            for row in self.rows(
                "SELECT d.dag_id FROM dag d WHERE NOT d.is_stale AND NOT d.is_paused AND EXISTS "
                "(SELECT 1 FROM serialized_dag s WHERE s.dag_id = d.dag_id)"
            )
        }
