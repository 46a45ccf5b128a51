"""A metadata database with DAGs of four tasks, and tasks of theirs at any time."""

from __future__ import annotations

import json
import zlib

import psycopg

from tests.metadata_database import insert_dag

#: A chain of three with a fork: c waits for a and b, d for c.
EDGES = {"a": ["c"], "b": ["c"], "c": ["d"], "d": []}
SERIALIZED_DAG = {
    "dag": {
        "tasks": [
            {"__var": {"task_id": task, "downstream_task_ids": down}, "__type": "operator"}
            for task, down in EDGES.items()
        ]
    }
}
_VERSION = """
INSERT INTO dag_version (id, version_number, dag_id, bundle_name, created_at, last_updated)
VALUES (gen_random_uuid(), 1, %s, 'b', now(), now()) RETURNING id
"""
_SERIALIZED = """
INSERT INTO serialized_dag (id, dag_id, data, data_compressed, dag_hash, dag_version_id, created_at,
                            last_updated)
VALUES (gen_random_uuid(), %s, %s, %s, '', %s, now(), now())
"""
_RUN = """
INSERT INTO dag_run (dag_id, run_id, state, run_type, run_after, log_template_id, clear_number,
                     updated_at)
VALUES (%s, %s, 'running', 'manual', now(), (SELECT max(id) FROM log_template), 0, now())
ON CONFLICT DO NOTHING
"""
_TASK = """
INSERT INTO task_instance (id, task_id, dag_id, run_id, map_index, state, try_number, max_tries,
                           hostname, unixname, pool, pool_slots, queue, priority_weight,
                           custom_operator_name, executor_config, span_status, updated_at,
                           dag_version_id, queued_dttm, scheduled_dttm, start_date, end_date,
                           last_heartbeat_at)
VALUES (gen_random_uuid(), %(task)s, %(dag)s, %(run)s, -1, %(state)s, 1, 0, 'h', '', %(queue)s, 1,
        %(queue)s, 1, '', '\\x80057d942e', 'unset', now(), %(version)s,
        now() - make_interval(secs => %(ready)s), now() - make_interval(secs => %(ready)s),
        now() - make_interval(secs => %(start)s), now() - make_interval(secs => %(end)s),
        now() - make_interval(secs => coalesce(%(end)s, %(start)s)))
"""


class Book:
    """Adds tasks to a metadata database; times are seconds ago."""

    def __init__(self, connection: psycopg.Connection, *, compressed: bool = False) -> None:
        self.connection = connection
        self.versions = {}
        for dag in ("onboarding", "rescore_portfolio"):
            insert_dag(connection, dag)
            (version,) = connection.execute(_VERSION, [dag]).fetchone() or ()
            text = json.dumps(SERIALIZED_DAG)
            packed = zlib.compress(text.encode()) if compressed else None
            connection.execute(_SERIALIZED, [dag, None if compressed else text, packed, version])
            self.versions[dag] = version

    def add(
        self,
        task: str,
        state: str,
        *,
        run: str = "r",
        queue: str = "onboarding",
        ready: float | None = None,
        start: float | None = None,
        end: float | None = None,
    ) -> None:
        dag = "rescore_portfolio" if queue == "batch" else "onboarding"
        self.connection.execute(_RUN, [dag, run])
        values = {"task": task, "run": run, "state": state, "queue": queue, "dag": dag}
        values |= {"ready": ready, "start": start, "end": end, "version": self.versions[dag]}
        self.connection.execute(_TASK, values)
