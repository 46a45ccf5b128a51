"""What was kept of each promise, and what it costs to know; on a real metadata database."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, TaskGroup, task
from airflow.serialization.serialized_objects import DagSerialization
from sqlalchemy import Engine

from airflow_config import queues
from airlane import queue_history
from airlane.queue_history import Historian, Kept
from intake import ledger
from tests.app_database import AppDatabase
from tests.metadata_database import insert_dag
from tests.servers import PostgresServer

FLEET = queues.load()
#: A chain of three with a fork: c waits for a and b, d for c.
EDGES = {"a": ["c"], "b": ["c"], "c": ["d"], "d": []}
_SERIALIZED_DAG = {
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
            text = json.dumps(_SERIALIZED_DAG)
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


@pytest.fixture
def writer(metadata_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(metadata_url.replace("+psycopg", ""), autocommit=True) as connection:
        yield connection


@pytest.fixture
def book(writer: psycopg.Connection) -> Book:
    return Book(writer)


@pytest.fixture
def historian(metadata_url: str, app_db: AppDatabase) -> Iterator[Historian]:
    found = Historian(FLEET, metadata_url, app_db.owner)
    yield found
    found.close()


def test_an_idle_stack_has_nothing_to_tell(historian: Historian) -> None:
    found = historian.look()
    assert list(found) == list(FLEET.queues)
    urgent, batch = found["onboarding"], found["batch"]
    assert (urgent.oldest_s, urgent.arrivals_per_minute, urgent.running) == (None, 0, 0)
    assert (urgent.end_to_end, urgent.task, urgent.gap) == (Kept(0, 0),) * 3
    assert urgent.task is not None
    assert urgent.task.share is None
    assert (batch.end_to_end, batch.task, batch.gap) == (None, None, None)


def test_what_waits_and_runs_is_counted_with_its_oldest(book: Book, historian: Historian) -> None:
    book.add("a", "running", ready=9, start=8)
    book.add("b", "scheduled", ready=100)
    book.add("c", "queued", ready=200)
    book.add("d", "success", ready=400, start=390, end=380)
    for number in range(5):
        book.add(f"t{number}", "scheduled", queue="batch", ready=50 + number)
    found = historian.look()
    urgent, batch = found["onboarding"], found["batch"]
    assert (urgent.scheduled, urgent.queued, urgent.running) == (1, 1, 1)
    assert urgent.oldest_s == pytest.approx(200, abs=60)
    assert (batch.scheduled, batch.queued, batch.running) == (5, 0, 0)
    assert batch.oldest_s == pytest.approx(54, abs=45)


def test_arrivals_and_completions_are_those_of_the_last_minutes(
    book: Book, historian: Historian
) -> None:
    for number in range(10):  # came and went
        book.add(f"t{number}", "success", run="now", ready=100, start=90, end=80)
    for number in range(5):  # came before, went now
        book.add(f"t{number}", "failed", run="late", ready=2000, start=90, end=80)
    for number in range(5):  # came now, wait
        book.add(f"t{number}", "scheduled", run="wait", ready=100)
    for number in range(3):  # long gone
        book.add(f"t{number}", "success", run="old", ready=2000, start=1900, end=1800)
    book.add("skipped", "skipped", run="now", ready=None)
    found = historian.look()["onboarding"]
    assert found.arrivals_per_minute == pytest.approx(15 / 5)
    assert found.completions_per_minute == pytest.approx(15 / 5)


def test_a_task_in_time_is_one_that_ended_a_minute_after_it_was_ready(
    book: Book, historian: Historian
) -> None:
    book.add("a", "success", run="1", ready=1000, start=999, end=941)
    book.add("a", "success", run="2", ready=1000, start=999, end=939)
    book.add("a", "failed", run="3", ready=1000, start=999, end=990)
    book.add("a", "running", run="4", ready=1000, start=999)
    book.add("a", "success", run="5", ready=5000, start=4999, end=4990)
    assert historian.look()["onboarding"].task == Kept(3, 2)


@pytest.mark.parametrize("compressed", [False, True])
def test_a_gap_is_from_the_end_of_the_last_upstream_task(
    writer: psycopg.Connection, historian: Historian, compressed: bool
) -> None:
    book = Book(writer, compressed=compressed)
    # c begins 1 s after b, which ends long after a; d 4 s after c
    book.add("a", "success", ready=1000, start=1000, end=900)
    book.add("b", "success", ready=1000, start=1000, end=800)
    book.add("c", "success", ready=800, start=799, end=700)
    book.add("d", "success", ready=699, start=696, end=690)
    assert historian.look()["onboarding"].gap == Kept(2, 1)
    # again, with what it knows of the DAG by now; another run's tasks are not upstream
    book.add("a", "success", run="2", ready=1000, start=1000, end=600)
    assert historian.look()["onboarding"].gap == Kept(2, 1)
    # one whose upstream task was skipped has none
    book.add("c", "skipped", run="3", ready=None)
    book.add("d", "success", run="3", ready=699, start=600, end=590)
    assert historian.look()["onboarding"].gap == Kept(2, 1)


def test_sign_ups_in_time_are_those_of_the_ledger(
    historian: Historian, worker_engine: Engine
) -> None:
    now = datetime.now(UTC)

    def decide(event: str, decision: Any, took: float, ago: float = 60) -> None:
        at = now - timedelta(seconds=ago)
        score, model = (None, None) if decision == "error" else (0.1, "risk-1")
        ledger.record(
            worker_engine,
            ledger.Decision(
                event_id=event,
                entity_id="7",
                decision=decision,
                score=score,
                reasons=[],
                model_version=model,
                signed_up_at=at - timedelta(seconds=took),
                run_id=f"signup-{event}",
                decided_at=at,
            ),
        )

    decide("fast", "approve", 1)
    decide("slow", "decline", 200)
    decide("failed", "error", 1)
    decide("before", "approve", 1, ago=4000)
    assert historian.look()["onboarding"].end_to_end == Kept(3, 1)


# -- what it costs


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


@pytest.fixture(scope="module")
def crowd(postgres: PostgresServer, metadata_template: str) -> Iterator[psycopg.Connection]:
    """A metadata database with 100,000 task instances."""
    url = postgres.create_database("metadata_crowd", owner="airflow", template=metadata_template)
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        version = Book(connection).versions["onboarding"]
        connection.execute(_MANY_RUNS, {"runs": TASKS // 4})
        sizes = {"tasks": TASKS, "lately": LATELY, "wait": WAIT, "version": version}
        connection.execute(_MANY_TASKS, sizes)
        connection.execute("VACUUM ANALYZE task_instance")
        yield connection


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


def statements(connection: psycopg.Connection) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return every statement on `task_instance`, with its values."""
    version = connection.execute("SELECT id FROM dag_version WHERE dag_id = 'onboarding'")
    (number,) = version.fetchone() or ()
    pairs = list(queue_history.edges(_SERIALIZED_DAG))
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
    read = [node for node in nodes(found["Plan"]) if node.get("Relation Name") == "task_instance"]
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
    pages = crowd.execute("SELECT pg_relation_size('task_instance') / 8192").fetchone()
    assert pages
    touched = found["Plan"]["Shared Hit Blocks"] + found["Plan"]["Shared Read Blocks"]
    assert touched < pages[0], "more pages than the table has"


def test_a_look_at_a_crowd_is_right(crowd: psycopg.Connection, app_db: AppDatabase) -> None:
    address = crowd.info
    url = f"postgresql://airflow:{address.password}@{address.host}:{address.port}/metadata_crowd"
    historian = Historian(FLEET, url, app_db.owner)
    try:
        found = historian.look()
    finally:
        historian.close()
    assert found["batch"].scheduled == WAIT
    task = found["onboarding"].task
    assert task is not None
    assert task.count == pytest.approx(LATELY / 4, abs=8)
    assert task.kept == task.count


def test_the_edges_are_those_that_airflow_writes() -> None:
    with DAG("d", schedule=None) as dag, TaskGroup("g"):
        first = EmptyOperator(task_id="first")

        @task
        def each(number: int) -> int:
            return number

        first >> each.expand(number=[1, 2]) >> EmptyOperator(task_id="last")
    found = queue_history.edges(DagSerialization.to_dict(dag))
    assert set(found) == {("g.each", "g.first"), ("g.last", "g.each")}
