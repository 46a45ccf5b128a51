"""What the planner of hosts looks at: task instances, and the registry of live workers.

Everything is counted in the metadata database, because under late binding that is where a
backlog waits. Three statements in one transaction, on what is active or was lately: by the
indexes of Airflow's own on state and on the last heartbeat, whatever the age of the table.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import psycopg
import redis
from psycopg.rows import dict_row

from airflow_config import live_workers
from airflow_config.live_workers import LiveWorker
from airflow_config.queues import Fleet
from workers.scaling import Load
from workers.scaling_demand import QueueLoad
from workers.scaling_hosts import HostLoad
from workers.scaling_rules import RATE_WINDOW, RECENT_WINDOW, Rules

#: Seconds over which the durations of ended tasks are averaged.
SERVICE_WINDOW = 900.0
#: Seconds between a task's last heartbeat and its end, at most: Airflow takes it for dead then.
_BEATS = 300.0
#: Seconds without a beat from which on a worker is lost, and up to which it is spoken of: a
#: machine that was deleted does not say goodbye.
LOST, FORGOTTEN = 30.0, 600.0
#: Seconds that a statement may take: the next look comes soon.
_TIMEOUT = 5

# A run that is at its DAG's max_active_tasks, or of a paused DAG, waits for no slot.
_WAITING = """
WITH active AS (
    SELECT queue, state, dag_id, run_id, coalesce(scheduled_dttm, queued_dttm) AS ready
    FROM task_instance
    WHERE state IN ('scheduled', 'queued', 'running')
), room AS (
    SELECT dag_id, run_id, CASE WHEN dag.is_paused THEN 0 ELSE greatest(
        dag.max_active_tasks - count(*) FILTER (WHERE state <> 'scheduled'), 0
    ) END AS free
    FROM active JOIN dag USING (dag_id)
    GROUP BY dag_id, run_id, dag.is_paused, dag.max_active_tasks
), waits AS (
    SELECT queue,
        least(count(*) FILTER (WHERE state = 'scheduled'), free)
            + count(*) FILTER (WHERE state = 'queued') AS tasks,
        min(ready) FILTER (WHERE state = 'queued' OR free > 0) AS oldest
    FROM active JOIN room USING (dag_id, run_id)
    WHERE state <> 'running' AND queue = ANY(%(queues)s)
    GROUP BY queue, dag_id, run_id, free
)
SELECT queue, sum(tasks)::int AS waiting,
    coalesce(extract(epoch FROM now() - min(oldest)), 0)::float8 AS oldest
FROM waits GROUP BY queue
"""

# Tasks that never ran, such as skipped ones, have no heartbeat: they took no slot.
_RECENT = """
WITH recent AS (
    SELECT queue, state, start_date, end_date, hostname,
        coalesce(scheduled_dttm, queued_dttm, start_date) AS ready
    FROM task_instance
    WHERE (state IN ('scheduled', 'queued', 'running')
        OR last_heartbeat_at > now() - make_interval(secs => %(service)s + %(beats)s))
        AND queue = ANY(%(queues)s)
)
"""
_FLOW = (
    _RECENT
    + """
SELECT queue,
    count(*) FILTER (WHERE state = 'running') AS running,
    count(*) FILTER (
        WHERE state = 'running' AND start_date < now() - make_interval(secs => goal.seconds)
    ) AS lasting,
    count(*) FILTER (WHERE ready > now() - make_interval(secs => %(rate)s)) AS arrived,
    count(*) FILTER (WHERE ready > now() - make_interval(secs => %(recent)s)) AS arrived_lately,
    (avg(least(extract(epoch FROM end_date - start_date), goal.seconds)) FILTER (
        WHERE end_date > now() - make_interval(secs => %(service)s)
            AND state NOT IN ('scheduled', 'queued', 'running')
    ))::float8 AS service
FROM recent
JOIN unnest(%(queues)s::text[], %(goals)s::float8[]) AS goal(queue, seconds) USING (queue)
GROUP BY queue
"""
)
_HOSTS = (
    _RECENT
    + """
SELECT hostname, queue, count(*) FILTER (WHERE state = 'running') AS running,
    extract(epoch FROM max(start_date))::float8 AS taken
FROM recent WHERE hostname <> '' GROUP BY hostname, queue
"""
)


def read(database: str, broker: redis.Redis, fleet: Fleet, rules: Rules) -> Load:
    """Return what is seen now.

    Parameters
    ----------
    database
        The metadata database's address, for psycopg.
    broker
        A client of the broker, which holds the registry.
    fleet
        The queue model.
    rules
        The planner's: which tasks count as lasting.

    Raises
    ------
    psycopg.Error, redis.exceptions.RedisError
        When one of them does not answer: nothing is planned on half a picture.
    """
    live = live_workers.read(broker)
    lost = _lost(broker, {worker.name for worker in live})
    queues = list(fleet.queues)
    values: dict[str, Any] = {
        "queues": queues,
        "goals": [rules.goal(fleet.queues[name]) for name in queues],
        "service": SERVICE_WINDOW,
        "beats": _BEATS,
        "rate": RATE_WINDOW,
        "recent": RECENT_WINDOW,
    }
    with psycopg.connect(
        database,
        connect_timeout=_TIMEOUT,
        options=f"-c TimeZone=UTC -c statement_timeout={_TIMEOUT}s",
        row_factory=dict_row,
    ) as connection:
        connection.read_only = True
        waiting = {row["queue"]: row for row in connection.execute(_WAITING, values)}
        flow = {row["queue"]: row for row in connection.execute(_FLOW, values)}
        hosts = list(connection.execute(_HOSTS, values))
        row = connection.execute("SELECT extract(epoch FROM now())::float8 AS now").fetchone()
    now = float(row["now"]) if row else time.time()
    return Load(
        time=now,
        queues={name: _queue(waiting.get(name, {}), flow.get(name, {})) for name in queues},
        hosts=(*_hosts(fleet, live, hosts), *(host for host in lost if _known(fleet, host))),
    )


def _queue(waiting: Mapping[str, Any], flow: Mapping[str, Any]) -> QueueLoad:
    return QueueLoad(
        waiting=waiting.get("waiting", 0),
        oldest=max(0.0, waiting.get("oldest", 0.0)),
        running=flow.get("running", 0),
        lasting=flow.get("lasting", 0),
        rate=flow.get("arrived", 0) / RATE_WINDOW,
        recent=flow.get("arrived_lately", 0) / RECENT_WINDOW,
        service=flow.get("service"),
    )


def _hosts(
    fleet: Fleet, live: list[LiveWorker], rows: list[dict[str, Any]]
) -> tuple[HostLoad, ...]:
    """Put together what workers say of themselves and what runs on their machines.

    Airflow writes a task's machine, not its worker (both by `socket.gethostname`): where two
    workers share one, each counts what it consumes or is at home with.
    """
    running: dict[str, dict[str, int]] = defaultdict(dict)
    taken: dict[str, dict[str, float]] = defaultdict(dict)
    for row in rows:
        if row["running"]:
            running[row["hostname"]][row["queue"]] = row["running"]
        if row["taken"] is not None:
            taken[row["hostname"]][row["queue"]] = row["taken"]
    found = []
    for worker in live:
        if worker.worker_class not in fleet.workers:
            continue
        served = set(fleet.consumes(worker.worker_class))
        mine = {name: n for name, n in running[worker.host].items() if name in served}
        times = [at for name, at in taken[worker.host].items() if name in served]
        found.append(
            HostLoad(
                name=worker.name,
                worker_class=worker.worker_class,
                running=mine,
                taken=max(times, default=None),
                draining=not worker.queues,
            )
        )
    return tuple(found)


def _lost(broker: redis.Redis, live: set[str]) -> list[HostLoad]:
    """Return the workers that stopped beating and did not say goodbye."""
    now = time.time()
    scored: Any = broker.zrange(live_workers.NAMES, 0, -1, withscores=True)
    found = []
    for raw, beat in scored:
        name = raw.decode() if isinstance(raw, bytes) else raw
        if name not in live and LOST < now - beat / 1000 < FORGOTTEN:
            found.append(HostLoad(name=name, worker_class=name.partition("@")[0], lost=True))
    return found


def _known(fleet: Fleet, host: HostLoad) -> bool:
    return host.worker_class in fleet.workers
