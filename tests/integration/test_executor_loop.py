"""The scheduler's loop as the executor starts it: what it finds by itself, from a real database."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from airflow.models.dagrun import DagRun
from airflow.utils.session import create_session

from airflow_config import agenda, changed_runs, queues, wakeup
from airflow_config.executor import listening_connection
from airflow_config.scheduler_loop import SchedulerLoop
from airflow_config.wakeup import Change, WakeUp
from tests.clock import Clock
from tests.executors import stock_afterwards
from tests.metadata_database import insert_dag, insert_run, insert_task
from tests.servers import wait_until


@pytest.fixture
def writer(writer: psycopg.Connection) -> psycopg.Connection:
    insert_dag(writer, "d")
    return writer


@pytest.fixture
def told(metadata_orm: str) -> Iterator[WakeUp]:
    """A real listener."""
    found = WakeUp(listening_connection)
    yield found
    found.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def loop(told: WakeUp, clock: Clock) -> Iterator[SchedulerLoop]:
    with stock_afterwards():
        loop = SchedulerLoop(queues.load(), told, clock)
        loop.install()
        yield loop


def examined() -> list[str]:
    """Return the runs that the loop examines now, by the function that Airflow calls."""
    with create_session() as session:
        found = DagRun.get_running_dag_runs_to_examine(session=session)
        for run in found:
            run.last_scheduling_decision = datetime.now(UTC)
        return [run.run_id for run in found]


def add_examined_run(writer: psycopg.Connection, run_id: str = "r") -> None:
    """Add a run that a scheduler examined just now."""
    insert_run(writer, run_id, "running")
    insert_task(writer, "t", run_id, None, weight=100_000)
    writer.execute("UPDATE dag_run SET last_scheduling_decision = now()")


def test_a_scheduler_that_starts_looks_at_every_run(
    loop: SchedulerLoop, told: WakeUp, writer: psycopg.Connection
) -> None:
    """What happened since the last one examined it was told to nobody."""
    add_examined_run(writer)
    told.wait(0)
    assert examined() == ["r"]
    assert examined() == []


def test_a_scheduler_that_listens_again_looks_at_every_run(
    loop: SchedulerLoop,
    told: Any,
    writer: psycopg.Connection,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wakeup, "_RETRY", 100_000)
    told.wait(0)
    assert examined() == []
    listener = told._connection.info.backend_pid
    writer.execute("SELECT pg_terminate_backend(%s)", [listener])
    query = "SELECT 1 FROM pg_stat_activity WHERE pid = %s"
    wait_until(lambda: not writer.execute(query, [listener]).fetchone(), "the connection's end")
    assert told.wait(100_000) == []
    add_examined_run(writer)
    writer.execute("UPDATE dag_run SET last_scheduling_decision = now() - interval '1 minute'")
    clock.now += changed_runs.LOOK
    assert examined() == ["r"], "while it hears nothing it looks"
    # now something happens to the run, and it is heard of no more than before
    told._next_try = 0.0
    told.wait(0)
    assert told.listening
    assert examined() == ["r"]
    assert examined() == []


def test_a_run_that_grows_by_mapped_tasks_becomes_a_large_one(
    loop: SchedulerLoop, writer: psycopg.Connection, clock: Clock
) -> None:
    insert_run(writer, "r", "running")
    insert_task(writer, "t", "r", None, weight=1_000)
    loop._note([Change("run", "d", "r")])
    assert examined() == ["r"]
    assert not loop.agenda.is_large(("d", "r"))
    for number in range(agenda.LARGE):
        insert_task(writer, f"mapped{number}", "r", "running", weight=1_000)
    clock.now += agenda.STALE
    loop._note([Change("task", "d", "r")])
    examined()
    assert loop.agenda.is_large(("d", "r"))


def test_a_new_batch_run_is_no_sign_of_urgent_work(
    loop: SchedulerLoop, writer: psycopg.Connection
) -> None:
    """Batch gets the larger share of the scheduler's time when nothing is urgent."""
    for run_id, weight in (("batch", 1_000), ("urgent", 100_000)):
        insert_run(writer, run_id, "running")
        insert_task(writer, "t", run_id, None, weight=weight)
        loop._note([Change("run", "d", run_id)])
        assert run_id in examined()
        assert loop.agenda.pressed() == (run_id == "urgent")


@pytest.mark.parametrize("state", ["up_for_retry", "up_for_reschedule"])
def test_a_task_that_waits_for_a_time_is_looked_at_all_the_time(
    loop: SchedulerLoop, told: WakeUp, writer: psycopg.Connection, clock: Clock, state: str
) -> None:
    """Nobody tells that a retry's delay is over, or that a sensor is due."""
    told.wait(0)
    for run_id, task in (("timed", state), ("other", "running")):
        insert_run(writer, run_id, "running")
        insert_task(writer, "t", run_id, task, weight=100_000)
    for _ in range(2):
        writer.execute("UPDATE dag_run SET last_scheduling_decision = now()")
        loop._runs._heard_since = told.since = datetime(2000, 1, 1, tzinfo=UTC)
        clock.now += changed_runs.LOOK
        assert examined() == []
        seen = "UPDATE dag_run SET last_scheduling_decision = now() - interval '2 s'"
        writer.execute(seen)
        clock.now += 2 * changed_runs.SWEEP_TIMED
        assert examined() == ["timed"]
