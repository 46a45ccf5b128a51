"""What the planner of hosts sees, on a real metadata database and a real registry."""

from __future__ import annotations

import time

import psycopg
import pytest
import redis

from airflow_config import live_workers, queues
from airflow_config.live_workers import LiveWorker
from airlane import fleet_load
from tests.metadata_database import ago, insert_dag, insert_run, insert_task
from workers.scaling import Load
from workers.scaling_rules import RATE_WINDOW, Rules

FLEET = queues.load()


@pytest.fixture
def database(metadata_orm: str) -> str:
    return metadata_orm.replace("+psycopg", "")


@pytest.fixture
def writer(writer: psycopg.Connection) -> psycopg.Connection:
    for dag_id, most in {"wide": 1000, "narrow": 4, "paused": 1000}.items():
        insert_dag(writer, dag_id)
        insert_run(writer, "r", "running", dag_id)
        writer.execute("UPDATE dag SET max_active_tasks = %s WHERE dag_id = %s", [most, dag_id])
    writer.execute("UPDATE dag SET is_paused = true WHERE dag_id = 'paused'")
    return writer


def add(
    writer: psycopg.Connection,
    count: int,
    state: str,
    *,
    dag: str = "wide",
    queue: str = "batch",
    host: str = "",
    ready: float = 10,
    start: float | None = None,
    end: float | None = None,
) -> None:
    """Add tasks; times are seconds ago."""
    for _ in range(count):
        number = writer.execute("SELECT count(*) FROM task_instance").fetchone()[0]
        beat = end if end is not None else 1 if start is not None else None
        insert_task(
            *(writer, f"t{number}", "r", state, dag),
            **{"hostname": host, "pool": "batch", "queue": queue, "scheduled_dttm": ago(ready)},
            **{"start_date": ago(start), "end_date": ago(end), "last_heartbeat_at": ago(beat)},
        )


def alive(broker: redis.Redis, name: str, consumes: tuple[str, ...] | None = None) -> None:
    worker_class, _, host = name.partition("@")
    live_workers.write(
        broker,
        LiveWorker(
            name=name,
            worker_class=worker_class,
            host=host,
            concurrency=8,
            queues=FLEET.consumes(worker_class) if consumes is None else consumes,
            release="1",
        ),
    )


def look(database: str, broker: redis.Redis) -> Load:
    return fleet_load.read(database, broker, FLEET, Rules())


def test_nothing_at_all(database: str, writer, broker) -> None:
    load = look(database, broker)
    assert load.hosts == ()
    assert all(seen.waiting == 0 and seen.service is None for seen in load.queues.values())
    assert abs(load.time - time.time()) < 60


def test_scheduled_and_queued_tasks_wait(database: str, writer, broker) -> None:
    add(writer, 5, "scheduled", ready=40)
    add(writer, 2, "queued", ready=70)
    seen = look(database, broker).of("batch")
    assert seen.waiting == 7
    assert 70 <= seen.oldest < 100


def test_what_a_limit_of_the_dag_holds_back_waits_for_no_host(database: str, writer, broker):
    add(writer, 20, "scheduled", dag="narrow", ready=500)
    add(writer, 3, "running", dag="narrow", host="w1", start=5)
    add(writer, 9, "scheduled", dag="paused", ready=900)
    seen = look(database, broker).of("batch")
    assert seen.waiting == 1, "narrow runs 4 at a time"
    add(writer, 1, "running", dag="narrow", host="w1", start=5)
    seen = look(database, broker).of("batch")
    assert (seen.waiting, seen.oldest) == (0, 0)


def test_what_runs_and_for_how_long(database: str, writer, broker) -> None:
    add(writer, 3, "running", host="w1", start=20)
    add(writer, 2, "running", host="w1", start=5_000, ready=5_010)
    seen = look(database, broker).of("batch")
    assert (seen.running, seen.lasting) == (5, 2)


def test_rates_and_durations_are_of_late(database: str, writer, broker) -> None:
    add(writer, 6, "success", host="w1", ready=32, start=30, end=10)
    add(writer, 4, "failed", host="w1", ready=290, start=280, end=240)
    add(writer, 50, "success", host="w1", ready=9_000, start=8_900, end=8_000)
    add(writer, 7, "skipped", ready=30)
    seen = look(database, broker).of("batch")
    assert seen.rate == pytest.approx(10 / RATE_WINDOW)
    assert seen.recent == pytest.approx(6 / 60)
    assert seen.service == pytest.approx((6 * 20 + 4 * 40) / 10)


def test_hosts_with_what_they_run_and_last_took(database: str, writer, broker) -> None:
    alive(broker, "batch@w1")
    alive(broker, "batch@w2", consumes=())
    alive(broker, "unheard@w3", consumes=("batch",))
    add(writer, 2, "running", host="w1", start=20)
    add(writer, 1, "running", host="w1", queue="onboarding", start=3)
    first, second = look(database, broker).hosts
    assert (first.name, first.running) == ("batch@w1", {"batch": 2, "onboarding": 1})
    assert first.taken == pytest.approx(time.time() - 3, abs=30)
    assert (second.name, second.draining) == ("batch@w2", True)


def test_a_worker_that_stopped_beating_is_lost_for_a_while(database: str, writer, broker) -> None:
    now = time.time()
    beats = {
        "batch@w1": now - fleet_load.LOST - 5,
        "batch@w2": now - fleet_load.FORGOTTEN - 5,
        "batch@w3": now - 1,
        "gone@w4": now - fleet_load.LOST - 5,
    }
    broker.zadd(live_workers.NAMES, {name: int(beat * 1000) for name, beat in beats.items()})
    (host,) = look(database, broker).hosts
    assert (host.name, host.worker_class, host.lost) == ("batch@w1", "batch", True)
