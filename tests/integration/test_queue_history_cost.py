"""What it costs to know what was kept of each promise, with many tasks in the database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from airflow_config import queues
from airlane import queue_history
from airlane.queue_history import Historian, History
from tests.app_database import AppDatabase
from tests.integration.task_book import SERIALIZED_DAG, Book
from tests.servers import PostgresServer

TASKS = 100_000
#: Of them: that ran in the last hour, that wait.
LATELY, WAIT = 3_000, 2_000
_MANY_RUNS = """
INSERT INTO dag_run (dag_id, run_id, state, run_type, run_after, log_template_id, clear_number,
                     updated_at)
SELECT 'onboarding', 'r' || n, 'success', 'manual', now(), (SELECT max(id) FROM log_template), 0,
       now()
FROM generate_series(0, %(runs)s) AS n
"""
# Every fourth task is an urgent one of a chain a, b, c, d; one run after the other.
_MANY_TASKS = """
INSERT INTO task_instance (id, task_id, dag_id, run_id, map_index, state, try_number, max_tries,
                           hostname, unixname, pool, pool_slots, queue, priority_weight,
                           custom_operator_name, executor_config, span_status, updated_at,
                           dag_version_id, queued_dttm, scheduled_dttm, start_date, end_date,
                           last_heartbeat_at)
SELECT gen_random_uuid(), (array['a', 'b', 'c', 'd'])[n %% 4 + 1], 'onboarding', 'r' || n / 4, -1,
       CASE WHEN ago IS NULL THEN 'scheduled' ELSE 'success' END, 1, 0, 'h', '', queue, 1, queue, 1,
       '', '\\x80057d942e', 'unset', now(), %(version)s, ready, ready, began, ended, ended
FROM generate_series(0, %(tasks)s - 1) AS n,
LATERAL (SELECT CASE
    WHEN n < %(wait)s THEN NULL
    WHEN n < %(wait)s + %(lately)s THEN (n - %(wait)s) * 3600.0 / %(lately)s
    ELSE 4200 + (n - %(wait)s - %(lately)s) * 30 * 86400.0 / %(tasks)s
END AS ago, CASE
    WHEN n / 4 %% 4 = 0 AND n >= %(wait)s THEN 'onboarding' ELSE 'batch'
END AS queue) AS x,
LATERAL (SELECT now() - make_interval(secs => coalesce(ago, 60) + 3) AS ready,
    now() - make_interval(secs => ago + 2) AS began,
    now() - make_interval(secs => ago) AS ended) AS y
"""


@contextmanager
def crowded(
    postgres: PostgresServer, template: str, name: str, *, wait: int
) -> Iterator[psycopg.Connection]:
    """Enter a metadata database with 100,000 task instances, of which that many wait."""
    url = postgres.create_database(name, owner="airflow", template=template)
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        version = Book(connection).versions["onboarding"]
        connection.execute(_MANY_RUNS, {"runs": TASKS // 4})
        sizes = {"tasks": TASKS, "lately": LATELY, "wait": wait, "version": version}
        connection.execute(_MANY_TASKS, sizes)
        connection.execute("VACUUM ANALYZE task_instance")
        yield connection


@pytest.fixture(scope="module")
def crowd(postgres: PostgresServer, metadata_template: str) -> Iterator[psycopg.Connection]:
    """Nearly all have ended long ago."""
    with crowded(postgres, metadata_template, "metadata_crowd", wait=WAIT) as connection:
        yield connection


@pytest.fixture(scope="module")
def backlog(postgres: PostgresServer, metadata_template: str) -> Iterator[psycopg.Connection]:
    """All of them wait."""
    with crowded(postgres, metadata_template, "metadata_backlog", wait=TASKS) as connection:
        yield connection


def look(connection: psycopg.Connection, app_db: AppDatabase) -> dict[str, History]:
    """Look as `airlane queues` does, with its time limit for each statement."""
    at = connection.info
    url = f"postgresql://airflow:{at.password}@{at.host}:{at.port}/{at.dbname}"
    historian = Historian(url, app_db.owner)
    try:
        return historian.look(queues.load())
    finally:
        historian.close()


def touched(found: dict[str, Any]) -> int:
    """Return how many pages a statement touched."""
    return int(found["Plan"]["Shared Hit Blocks"] + found["Plan"]["Shared Read Blocks"])


def size(connection: psycopg.Connection) -> int:
    """Return the pages of the table of task instances."""
    (pages,) = connection.execute("SELECT pg_relation_size('task_instance') / 8192").fetchone() or (
        0,
    )
    return int(pages)


def plan(connection: psycopg.Connection, query: str, values: dict[str, Any]) -> dict[str, Any]:
    """Run a statement and return what PostgreSQL says of it."""
    explain = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {query}"
    row = connection.execute(explain, values).fetchone()
    assert row
    found: dict[str, Any] = row[0][0]
    return found


def nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for inner in node.get("Plans", ()):
        yield from nodes(inner)


def reads(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the parts of a statement's plan that read task instances."""
    return [n for n in nodes(found["Plan"]) if n.get("Relation Name") == "task_instance"]


def statements(connection: psycopg.Connection) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return every statement on `task_instance`, with its values."""
    version = connection.execute("SELECT id FROM dag_version WHERE dag_id = 'onboarding'")
    (number,) = version.fetchone() or ()
    pairs = list(queue_history.edges(SERIALIZED_DAG))
    values: dict[str, Any] = {
        "kept": queue_history.KEPT_WINDOW,
        "rate": queue_history.RATE_WINDOW,
        "beats": 300.0,
        "queues": ["onboarding"],
        "promises": [3.0],
        "of": [str(number)] * len(pairs),
        "tasks": [task for task, _ in pairs],
        "ups": [up for _, up in pairs],
    }
    return {
        name: (getattr(queue_history, name), values)
        for name in ("_NOW", "_FLOW", "_VERSIONS", "_GAPS")
    }


@pytest.mark.parametrize("name", ["_NOW", "_FLOW", "_VERSIONS", "_GAPS"])
def test_a_look_reads_what_is_active_or_was_lately_by_an_index(
    crowd: psycopg.Connection, name: str
) -> None:
    query, values = statements(crowd)[name]
    found = plan(crowd, query, values)
    read = reads(found)
    assert read, found
    assert {node["Node Type"] for node in read} <= {
        "Index Scan",
        "Index Only Scan",
        "Bitmap Heap Scan",
    }
    used = {node["Index Name"] for node in nodes(found["Plan"]) if "Index Name" in node}
    assert used <= {"ti_state", "ti_heartbeat", "ti_pool", "airlane_task_waiting"}, used
    # the table has a hundred thousand rows; only what was lately or is active is looked at
    assert max(node["Actual Rows"] * node["Actual Loops"] for node in read) <= LATELY + WAIT + 500
    assert touched(found) < size(crowd), "more pages than the table has"


def test_a_look_at_a_crowd_is_right(crowd: psycopg.Connection, app_db: AppDatabase) -> None:
    found = look(crowd, app_db)
    assert found["batch"].scheduled == WAIT
    task = found["onboarding"].task
    assert task is not None
    assert task.count == pytest.approx(LATELY / 4, abs=8)
    assert task.kept == task.count


@pytest.mark.parametrize("name", ["_NOW", "_FLOW", "_VERSIONS", "_GAPS"])
def test_a_look_reads_a_backlog_once_and_sorts_nothing_of_it(
    backlog: psycopg.Connection, name: str
) -> None:
    """What waits has to be counted, so a look costs what the backlog is; but no more than that."""
    query, values = statements(backlog)[name]
    found = plan(backlog, query, values)
    read = reads(found)
    counts = name in {"_NOW", "_FLOW"}
    rows = sum(node["Actual Rows"] * node["Actual Loops"] for node in read)
    assert rows <= (TASKS if counts else 0) + 500
    # an index on what waits holds all of it here: its pages come on top of the table's
    assert touched(found) < size(backlog) * (2 if counts else 0.1), found
    sorted_rows = [n["Actual Rows"] for n in nodes(found["Plan"]) if n["Node Type"] == "Sort"]
    assert max(sorted_rows, default=0) < 500, "states and queues, after they were counted"


def test_a_look_at_a_backlog_is_right_and_in_time(
    backlog: psycopg.Connection, app_db: AppDatabase
) -> None:
    found = look(backlog, app_db)["batch"]
    assert (found.scheduled, found.running) == (TASKS, 0)
    assert found.arrivals_per_minute == TASKS / 5
    assert found.oldest_s is not None
    assert found.oldest_s > 60


def test_decisions_are_counted_by_the_index_on_their_time(app_db: AppDatabase) -> None:
    with psycopg.connect(app_db.owner.replace("+psycopg", "", 1), autocommit=True) as connection:
        connection.execute(
            "INSERT INTO ledger (event_id, entity_id, decision, reasons, signed_up_at, decided_at, "
            "run_id) SELECT 'e' || n, '7', 'approve', '[]', now() - ago - interval '9 s', "
            "now() - ago, 'r' FROM generate_series(0, %(tasks)s - 1) AS n, LATERAL (SELECT "
            "make_interval(secs => n * 3600.0 / %(lately)s) AS ago) AS x",
            {"tasks": TASKS, "lately": LATELY},
        )
        connection.execute("VACUUM ANALYZE ledger")
        values = {"kept": queue_history.KEPT_WINDOW, "end_to_end": 180.0}
        found = plan(connection, queue_history._DECISIONS, values)
    (read,) = [node for node in nodes(found["Plan"]) if node.get("Relation Name") == "ledger"]
    assert read["Node Type"] in {"Index Scan", "Bitmap Heap Scan"}
    used = {node["Index Name"] for node in nodes(found["Plan"]) if "Index Name" in node}
    assert used == {"ledger_decided_at"}
    assert read["Actual Rows"] * read["Actual Loops"] == pytest.approx(LATELY, abs=50)
