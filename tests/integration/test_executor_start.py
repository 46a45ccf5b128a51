"""The executor in a scheduler: what `start` does, and what its heartbeat waits for."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from airflow.models.dagrun import DagRun
from airflow.utils.session import create_session
from airflow.utils.state import TaskInstanceState

from airflow_config import executor as module
from airflow_config import scheduler_fit, scheduler_loop, wakeup
from airflow_config.executor import AirlaneExecutor
from tests.executors import celery_on, give, replaced, stock_afterwards, task_workload
from tests.metadata_database import insert_dag, insert_run, insert_task
from tests.servers import wait_until

#: A wait that nobody sees the end of: only a notification ends it.
FOREVER = 100_000.0


@pytest.fixture
def executor(metadata_orm: str, redis_url: str) -> Iterator[AirlaneExecutor]:
    """An executor in a process that could be a scheduler's; what it replaces is put back."""
    with celery_on(redis_url), stock_afterwards():
        executor = AirlaneExecutor(parallelism=8)
        yield executor
        executor.end()


@pytest.fixture
def unbounded(executor: AirlaneExecutor, monkeypatch: pytest.MonkeyPatch) -> AirlaneExecutor:
    """An executor in a scheduler that is not the one that was read."""
    monkeypatch.setattr(scheduler_fit, "misfits", lambda: ["Pool.slots_stats: another"])
    executor.start()
    return executor


def listeners(writer: psycopg.Connection) -> list[int]:
    """Return the database's processes that serve a connection which listens."""
    query = (
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
        "AND query = 'LISTEN airlane_scheduler'"
    )
    return [pid for (pid,) in writer.execute(query)]


def test_start_bounds_the_loop_and_nothing_else_does(
    executor: AirlaneExecutor, capsys: pytest.CaptureFixture[str]
) -> None:
    give(executor, task_workload())
    executor.heartbeat()
    assert replaced() == []
    executor.start()
    assert len(replaced()) == 8
    assert "does not bound" not in capsys.readouterr().out


def test_a_second_start_in_one_process_bounds_the_loop_once(
    executor: AirlaneExecutor, redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    executor.start()
    second = AirlaneExecutor(parallelism=8)
    second.start()
    try:
        assert "does not bound" not in capsys.readouterr().out
        assert len(replaced()) == 8
    finally:
        second.end()
    scheduler_loop.withdraw()
    assert replaced() == []


def test_a_scheduler_that_was_not_read_stays_stock_and_says_so(
    capsys: pytest.CaptureFixture[str],
    executor: AirlaneExecutor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scheduler_fit, "misfits", lambda: ["Pool.slots_stats: another"])
    executor.start()
    assert replaced() == []
    said = capsys.readouterr().out
    assert "error" in said
    assert "does not bound this scheduler's loop" in said
    assert "Pool.slots_stats: another" in said
    assert "Fix:" in said


@pytest.mark.parametrize("scheme", ["amqp", "sentinel", "sqs"])
def test_with_a_broker_that_is_not_redis_it_starts_leaves_the_pools_alone_and_says_so(
    capsys: pytest.CaptureFixture[str],
    executor: AirlaneExecutor,
    monkeypatch: pytest.MonkeyPatch,
    scheme: str,
) -> None:
    monkeypatch.setenv("AIRFLOW__CELERY__BROKER_URL", f"{scheme}://me:pass-word@127.0.0.1:1//")
    executor.start()
    executor.heartbeat()
    assert replaced(), "the loop is bounded all the same"
    said = capsys.readouterr().out
    assert f"[celery] broker_url, found {scheme}://. Fix:" in said
    assert "pass-word" not in said


def test_unbounded_it_waits_in_its_heartbeat_and_returns_at_a_change(
    unbounded: AirlaneExecutor, writer: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "IDLE", 0.0)
    unbounded.heartbeat()  # connects
    monkeypatch.setattr(module, "IDLE", FOREVER)
    ended = threading.Event()

    def beat() -> None:
        unbounded.heartbeat()
        ended.set()

    threading.Thread(target=beat, daemon=True).start()
    wait_until(lambda: bool(listeners(writer)), "the listener")
    insert_run(writer, "r", "running")
    assert ended.wait(60)
    # what came while nobody waited is not lost either
    insert_task(writer, "t", "r", "running")
    writer.execute("UPDATE task_instance SET state = 'success'")
    unbounded.heartbeat()


def test_unbounded_it_does_not_wait_with_news_for_the_scheduler(
    unbounded: AirlaneExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "IDLE", FOREVER)
    workload = task_workload()
    give(unbounded, workload)
    unbounded.heartbeat()
    assert unbounded.event_buffer[workload.key][0] == TaskInstanceState.QUEUED


def test_unbounded_it_remembers_nothing_of_what_it_told(unbounded: AirlaneExecutor) -> None:
    for number in range(3):
        workload = task_workload(f"t{number}")
        give(unbounded, workload)
        unbounded.heartbeat()
        assert list(unbounded.get_event_buffer()) == [workload.key]
    assert not unbounded._written


def test_unbounded_it_neither_spins_nor_sleeps_for_long(
    unbounded: AirlaneExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(unbounded._wakeup, "wait", waits.append)
    monkeypatch.setattr(wakeup.WakeUp, "listening", True)
    unbounded.heartbeat()
    monkeypatch.setattr(wakeup.WakeUp, "listening", False)
    unbounded.heartbeat()
    assert waits == [module.IDLE, module.POLL]
    assert 0 < module.POLL < module.IDLE <= 1


def test_bounded_its_heartbeat_never_waits(
    executor: AirlaneExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "IDLE", FOREVER)
    monkeypatch.setattr(module, "POLL", FOREVER)
    executor.start()
    executor.heartbeat()


def test_the_end_lets_go_of_the_database(
    executor: AirlaneExecutor, writer: psycopg.Connection
) -> None:
    executor.start()
    assert executor._wakeup is not None
    executor._wakeup.wait(0)
    assert len(listeners(writer)) == 1
    executor.end()
    wait_until(lambda: not listeners(writer), "the listener to go")


def test_a_killed_connection_is_polled_for_told_once_and_made_anew(
    executor: AirlaneExecutor,
    writer: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(wakeup, "_RETRY", FOREVER)
    executor.start()
    told: Any = executor._wakeup
    told.wait(0)
    assert told.listening
    (pid,) = listeners(writer)
    caplog.clear()
    writer.execute("SELECT pg_terminate_backend(%s)", [pid])
    wait_until(lambda: not listeners(writer), "the connection to be cut")
    assert told.wait(FOREVER) == [], "it waits for nothing on a connection that is gone"
    assert not told.listening, "so the loop looks by itself"
    for _ in range(20):
        assert told.wait(0.001) == []
    warnings = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == 1, warnings
    assert "broke" in warnings[0]
    told._next_try = 0.0
    told.wait(0)
    assert told.listening
    insert_run(writer, "r", "running")
    assert told.wait(FOREVER) == [wakeup.Change("run", "d", "r")]


def test_a_scheduler_takes_runs_whose_telling_was_lost(
    executor: AirlaneExecutor, writer: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole loop's own query, with the connection cut before the run was created."""
    monkeypatch.setattr(wakeup, "_RETRY", FOREVER)
    executor.start()
    told: Any = executor._wakeup
    told.wait(0)
    writer.execute("SELECT pg_terminate_backend(%s)", listeners(writer))
    wait_until(lambda: not listeners(writer), "the connection to be cut")
    insert_dag(writer, "d")
    insert_run(writer, "r", "running")
    told.wait(0)
    with create_session() as session:
        found = DagRun.get_running_dag_runs_to_examine(session=session)
        assert [run.run_id for run in found] == ["r"]
