"""A metadata database with pools, DAGs and runs for tasks that wait."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests.integration.critical_section.waiting_tasks import DAGS, POOLS, RUNS
from tests.metadata_database import insert_dag, insert_run


@pytest.fixture
def writer(metadata_orm: str) -> Iterator[psycopg.Connection]:
    url = metadata_orm.replace("+psycopg", "")
    with psycopg.connect(url, autocommit=True) as connection:
        for pool, slots in POOLS.items():
            connection.execute(
                "INSERT INTO slot_pool (pool, slots, include_deferred) VALUES (%s, %s, %s)",
                [pool, slots, pool == "control"],
            )
        for dag_id, most in DAGS.items():
            insert_dag(connection, dag_id)
            connection.execute(
                "UPDATE dag SET max_active_tasks = %s WHERE dag_id = %s", [most, dag_id]
            )
        connection.execute("UPDATE dag SET is_paused = true WHERE dag_id = 'paused'")
        for dag_id, run_id in RUNS:
            insert_run(connection, run_id, "running", dag_id)
        yield connection
