"""What each queue was given and got done lately, and what was kept of its promise.

Read from the metadata database by the indexes that are there: what is active by its state, what has
run lately by its last heartbeat (Airflow's `ti_state` and `ti_heartbeat`). So a look costs what was
done in the last hour, whatever the age of the table; docs/operations.md has figures. Sign-ups are
read from the ledger, by its index on the time of the decision.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import Any

import psycopg
from psycopg.rows import dict_row

from airflow_config.place import for_psycopg
from airflow_config.queue_entries import Queue
from airflow_config.queues import Fleet

#: Seconds that are looked back: for what is kept, and for the rates.
KEPT_WINDOW, RATE_WINDOW = 3600.0, 300.0
#: Seconds between a task's last heartbeat and its end, at most: Airflow takes it for dead then.
_BEATS = 300.0
#: Seconds that a statement may take: whoever looks, looks again soon.
_TIMEOUT = 5
#: The DAG that decides about sign-ups: `end_to_end` of its queue is judged by the ledger.
_DECIDES = "onboarding"

_NOW = """
SELECT pool, state, sum(pool_slots)::int AS slots,
    extract(epoch FROM now() - min(coalesce(scheduled_dttm, queued_dttm)))::float8 AS oldest
FROM task_instance
WHERE state IN ('scheduled', 'queued', 'running')
GROUP BY pool, state
"""

_POOLS = "SELECT pool, slots FROM slot_pool"

# Tasks that never ran, such as skipped ones, have no heartbeat: they took no slot.
_RECENT = """
WITH recent AS MATERIALIZED (
    SELECT dag_id, run_id, task_id, map_index, queue, dag_version_id, scheduled_dttm, start_date,
        CASE WHEN state NOT IN ('scheduled', 'queued', 'running') THEN end_date END AS end_date
    FROM task_instance
    WHERE last_heartbeat_at > now() - make_interval(secs => %(kept)s + %(beats)s)
)
"""
_FLOW = (
    _RECENT  # noqa: S608 - all of it stands here
    + """
, waiting AS (
    SELECT queue, count(*) AS arrived FROM task_instance
    WHERE state IN ('scheduled', 'queued') AND last_heartbeat_at IS NULL
        AND scheduled_dttm > now() - make_interval(secs => %(rate)s)
    GROUP BY queue
), ran AS (
    SELECT queue,
        count(*) FILTER (
            WHERE scheduled_dttm > now() - make_interval(secs => %(rate)s)
        ) AS arrived,
        count(*) FILTER (WHERE end_date > now() - make_interval(secs => %(rate)s)) AS ended,
        count(*) FILTER (
            WHERE end_date > now() - make_interval(secs => %(kept)s)
                AND scheduled_dttm IS NOT NULL
        ) AS tasks,
        count(*) FILTER (
            WHERE end_date > now() - make_interval(secs => %(kept)s)
                AND extract(epoch FROM end_date - scheduled_dttm) <= promise.task
        ) AS tasks_kept
    FROM recent
    LEFT JOIN unnest(%(queues)s::text[], %(promises)s::float8[]) AS promise(queue, task)
        USING (queue)
    GROUP BY queue
)
SELECT queue, coalesce(ran.arrived, 0) + coalesce(waiting.arrived, 0) AS arrived,
    coalesce(ended, 0) AS ended, coalesce(tasks, 0) AS tasks, coalesce(tasks_kept, 0) AS tasks_kept
FROM ran FULL JOIN waiting USING (queue)
"""
)

_VERSIONS = (
    _RECENT
    + """
SELECT DISTINCT dag_version_id::text AS version FROM recent
WHERE queue = ANY(%(queues)s) AND dag_version_id IS NOT NULL
"""
)
_SERIALIZED = """
SELECT dag_version_id::text AS version, data, data_compressed FROM serialized_dag
WHERE dag_version_id = ANY(%(versions)s::uuid[])
"""
# From the end of the last upstream task to the start. Upstream tasks that ran long ago or never are
# not in `recent`: then there was no gap, and none is counted.
_GAPS = (
    _RECENT  # noqa: S608 - all of it stands here
    + """
, gaps AS (
    SELECT recent.queue, extract(epoch FROM recent.start_date - max(before.end_date)) AS seconds
    FROM recent
    JOIN unnest(%(of)s::uuid[], %(tasks)s::text[], %(ups)s::text[]) AS edge(version, task, up)
        ON edge.version = recent.dag_version_id AND edge.task = recent.task_id
    JOIN recent AS before ON before.dag_id = recent.dag_id AND before.run_id = recent.run_id
        AND before.task_id = edge.up
    WHERE recent.start_date > now() - make_interval(secs => %(kept)s)
        AND before.end_date <= recent.start_date
    GROUP BY recent.queue, recent.dag_id, recent.run_id, recent.task_id, recent.map_index,
        recent.start_date
)
SELECT queue, count(*) AS gaps, count(*) FILTER (WHERE seconds <= promise.gap) AS gaps_kept
FROM gaps
JOIN unnest(%(queues)s::text[], %(promises)s::float8[]) AS promise(queue, gap) USING (queue)
GROUP BY queue
"""
)

_DECISIONS = """
SELECT count(*) AS decided, count(*) FILTER (
    WHERE decision <> 'error'
        AND decided_at - signed_up_at <= make_interval(secs => %(end_to_end)s)
) AS kept
FROM ledger WHERE decided_at > now() - make_interval(secs => %(kept)s)
"""


@dataclass(frozen=True)
class Kept:
    """How often a promise was kept: `count` cases in the last hour, `kept` of them."""

    count: int
    kept: int

    @property
    def share(self) -> float | None:
        """From 0 to 1; None when there was no case."""
        return self.kept / self.count if self.count else None

    def to_json(self) -> dict[str, Any]:
        """Return what `airlane queues --json` prints."""
        share = self.share
        return {**asdict(self), "share": None if share is None else round(share, 4)}


@dataclass(frozen=True)
class History:
    """What was done in a queue lately, and what is in it.

    Parameters
    ----------
    slots
        Of its pool.
    scheduled, queued, running
        Of these slots, those that tasks in these states take or wait for.
    oldest_s
        Seconds since the longest waiting of the tasks that wait was ready; None when none waits.
    arrivals_per_minute, completions_per_minute
        Tasks that became ready, and tries that ended: means of the last five minutes.
    end_to_end, task, gap
        What was kept of each promise that the queue has; None where it has none.
    """

    slots: int = 0
    scheduled: int = 0
    queued: int = 0
    running: int = 0
    oldest_s: float | None = None
    arrivals_per_minute: float = 0.0
    completions_per_minute: float = 0.0
    end_to_end: Kept | None = None
    task: Kept | None = None
    gap: Kept | None = None


class Historian:
    """Looks at both databases, again and again; keeps what does not change.

    Parameters
    ----------
    metadata_db, app_db
        Addresses for SQLAlchemy or psycopg.
    """

    def __init__(self, metadata_db: str, app_db: str) -> None:
        self._metadata = _Database(metadata_db)
        self._app = _Database(app_db)
        #: DAG version -> its edges, as (task, upstream task); a version never changes.
        self._edges: dict[str, list[tuple[str, str]]] = {}

    def close(self) -> None:
        """Close the connections."""
        self._metadata.close()
        self._app.close()

    def look(self, fleet: Fleet) -> dict[str, History]:
        """Return each queue's history, by name.

        Parameters
        ----------
        fleet
            The queue model that runs now: it may be another one at each look.

        Raises
        ------
        psycopg.Error
            When a database does not answer.
        """
        windows = {"kept": KEPT_WINDOW, "rate": RATE_WINDOW, "beats": _BEATS}
        queues = fleet.queues
        with self._metadata.reading() as connection:
            now: dict[str, dict[str, Any]] = {}
            for row in connection.execute(_NOW):
                now.setdefault(row["pool"], {})[row["state"]] = row
            pools = {row["pool"]: row["slots"] for row in connection.execute(_POOLS)}
            promises = {name: _seconds(queue, "task") for name, queue in queues.items()}
            values = {**windows, "queues": list(promises), "promises": list(promises.values())}
            flow = {row["queue"]: row for row in connection.execute(_FLOW, values)}
            gaps = self._gaps(connection, fleet, windows)
        decides = decision_queue(fleet)
        decided = None if decides is None else self._decided(decides)
        return {
            name: replace(
                _history(queue, now.get(name, {}), flow.get(name, {})),
                slots=pools.get(name, 0),
                gap=gaps.get(name),
                end_to_end=decided if queue is decides else None,
            )
            for name, queue in queues.items()
        }

    def _gaps(
        self, connection: psycopg.Connection[Any], fleet: Fleet, windows: Mapping[str, float]
    ) -> dict[str, Kept]:
        promised = {
            name: seconds
            for name, queue in fleet.queues.items()
            if (seconds := _seconds(queue, "gap")) is not None
        }
        if not promised:
            return {}
        values = {**windows, "queues": list(promised), "promises": list(promised.values())}
        found = {row["version"] for row in connection.execute(_VERSIONS, values)}
        self._learn_edges(connection, found - self._edges.keys())
        edges = [(version, *edge) for version in sorted(found) for edge in self._edges[version]]
        of, tasks, ups = ([edge[column] for edge in edges] for column in range(3))
        rows = connection.execute(_GAPS, {**values, "of": of, "tasks": tasks, "ups": ups})
        kept = {row["queue"]: Kept(row["gaps"], row["gaps_kept"]) for row in rows}
        return {name: kept.get(name, Kept(0, 0)) for name in promised}

    def _learn_edges(self, connection: psycopg.Connection[Any], versions: Iterable[str]) -> None:
        wanted = sorted(versions)
        if not wanted:
            return
        found: dict[str, list[tuple[str, str]]] = {version: [] for version in wanted}
        for row in connection.execute(_SERIALIZED, {"versions": wanted}):
            data = row["data"] or json.loads(zlib.decompress(row["data_compressed"]))
            found[row["version"]] = list(edges(data))
        self._edges.update(found)

    def _decided(self, queue: Queue) -> Kept:
        values = {"kept": KEPT_WINDOW, "end_to_end": _seconds(queue, "end_to_end")}
        with self._app.reading() as connection:
            row = connection.execute(_DECISIONS, values).fetchone()
        return Kept(row["decided"], row["kept"])


class _Database:
    """A connection that is kept while it is good, for reading alone."""

    def __init__(self, address: str) -> None:
        self._address = for_psycopg(address)
        self._connection: psycopg.Connection[Any] | None = None

    def reading(self) -> Any:
        """Enter a transaction that sees one moment; give its connection."""
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(
                self._address,
                connect_timeout=_TIMEOUT,
                options=f"-c TimeZone=UTC -c statement_timeout={_TIMEOUT}s",
                row_factory=dict_row,
            )
            self._connection.read_only = True
            self._connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        return _Reading(self._connection)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()


class _Reading:
    """A transaction; unlike a connection, it can be left without closing."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def __enter__(self) -> psycopg.Connection[Any]:
        return self._connection

    def __exit__(self, *_: object) -> None:
        if not self._connection.closed:
            self._connection.rollback()


def decision_queue(fleet: Fleet) -> Queue | None:
    """Return the queue whose promise `end_to_end` is about sign-ups, if there is one."""
    found = (queue for queue in fleet.urgent if queue.allows(_DECIDES))
    return next((queue for queue in found if _seconds(queue, "end_to_end") is not None), None)


def edges(data: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """Yield each task of a serialized DAG, as 3.3.2 writes it, with each of those upstream."""
    for entry in data.get("dag", {}).get("tasks", ()):
        task = entry.get("__var", entry)
        for downstream in task.get("downstream_task_ids", ()):
            yield downstream, task["task_id"]


def _seconds(queue: Queue, name: str) -> float | None:
    promise: timedelta | None = getattr(queue.promise, name) if queue.promise else None
    return None if promise is None else promise.total_seconds()


def _history(
    queue: Queue, now: Mapping[str, Mapping[str, Any]], flow: Mapping[str, Any]
) -> History:
    slots: dict[str, int] = {state: row["slots"] for state, row in now.items()}
    ages = [row["oldest"] for state, row in now.items() if state != "running"]
    oldest = max((age for age in ages if age is not None), default=None)
    minutes = RATE_WINDOW / 60
    promises = _seconds(queue, "task") is not None
    return History(
        scheduled=slots.get("scheduled", 0),
        queued=slots.get("queued", 0),
        running=slots.get("running", 0),
        oldest_s=None if oldest is None else round(max(0.0, oldest), 3),
        arrivals_per_minute=round(flow.get("arrived", 0) / minutes, 2),
        completions_per_minute=round(flow.get("ended", 0) / minutes, 2),
        task=Kept(flow.get("tasks", 0), flow.get("tasks_kept", 0)) if promises else None,
    )
