"""How much work tasks did in a stretch of time."""

from __future__ import annotations

from collections.abc import Iterable

from tests.benchmarks.stack import Stack

_TASKS = """
    SELECT extract(epoch FROM start_date), extract(epoch FROM end_date) FROM task_instance
    WHERE dag_id = ANY(%(dags)s) AND task_id = 'work' AND start_date < to_timestamp(%(end)s)
    AND (state = 'running' OR (state = 'success' AND end_date > to_timestamp(%(start)s)))
"""


def tasks_done(
    times: Iterable[tuple[float, float | None]], start: float, end: float, length: float
) -> float:
    """Return how many tasks' worth was done between two moments.

    A task that lies partly in between counts by the part: with tasks of 10 s that begin together,
    whole ones would come in waves, and a short window would count one more or less.

    Parameters
    ----------
    times
        Start and end of each task; None for one that still runs.
    start, end
        The window, seconds since the epoch.
    length
        How long a task is meant to take, for those that still run.
    """
    done = 0.0
    for began, ended in times:
        until = max(ended if ended is not None else began + length, began + 1e-6)
        inside = min(until, end) - max(began, start)
        if inside > 0:
            done += inside / (until - began)
    return done


def rate(stack: Stack, dag_ids: list[str], start: float, end: float, length: float) -> float:
    """Return tasks a second of some DAGs' tasks named `work` in a window that is over."""
    arguments = {"dags": dag_ids, "start": start, "end": end}
    rows = stack.metadata.rows(_TASKS, arguments)
    times = [(float(a), None if b is None else float(b)) for a, b in rows]
    return tasks_done(times, start, end, length) / (end - start)
