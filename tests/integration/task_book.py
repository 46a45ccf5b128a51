"""A metadata database with DAGs of four tasks, and tasks of theirs at any time."""

from __future__ import annotations

import json
import zlib

import psycopg

from tests.metadata_database import ago, edit_dag, insert_dag, insert_run, insert_task

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


class Book:
    """Adds tasks to a metadata database; times are seconds ago."""

    def __init__(self, connection: psycopg.Connection, *, compressed: bool = False) -> None:
        self.connection = connection
        self.versions = {}
        self._runs: set[tuple[str, str]] = set()
        text = json.dumps(SERIALIZED_DAG)
        stored = (None, zlib.compress(text.encode())) if compressed else (text, None)
        for dag in ("onboarding", "rescore_portfolio"):
            insert_dag(connection, dag)
            self.versions[dag] = edit_dag(connection, dag, *stored)

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
        if (dag, run) not in self._runs:
            insert_run(self.connection, run, "running", dag)
            self._runs.add((dag, run))
        insert_task(
            *(self.connection, task, run, state, dag),
            **{"hostname": "h", "pool": queue, "queue": queue},
            **{"dag_version_id": self.versions[dag]},
            **{"queued_dttm": ago(ready), "scheduled_dttm": ago(ready)},
            **{"start_date": ago(start), "end_date": ago(end)},
            last_heartbeat_at=ago(start if end is None else end),
        )
