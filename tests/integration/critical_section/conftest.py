"""A metadata database with pools, DAGs and runs for tasks that wait."""

from __future__ import annotations

import psycopg
import pytest

from tests.integration.critical_section.waiting_tasks import DAGS, POOLS, RUNS
from tests.metadata_database import insert_dag, insert_run


@pytest.fixture
def writer(writer: psycopg.Connection, metadata_orm: str) -> psycopg.Connection:
    for pool, slots in POOLS.items():
        writer.execute(
            "INSERT INTO slot_pool (pool, slots, include_deferred) VALUES (%s, %s, %s)",
            [pool, slots, pool == "control"],
        )
    for dag_id, most in DAGS.items():
        insert_dag(writer, dag_id)
        writer.execute("UPDATE dag SET max_active_tasks = %s WHERE dag_id = %s", [most, dag_id])
    writer.execute("UPDATE dag SET is_paused = true WHERE dag_id = 'paused'")
    for dag_id, run_id in RUNS:
        insert_run(writer, run_id, "running", dag_id)
    return writer
