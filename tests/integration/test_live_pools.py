"""Pools follow real workers: they come, stop, are killed; the registry or the rows are away."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
import redis
from airflow.models.pool import Pool
from airflow.utils.session import create_session
from sqlalchemy import select

from airflow_config import live_workers, pools, queues
from airflow_config.capacity import Capacity
from airflow_config.live_workers import LiveWorker, unserved
from deploy.local.ports import free_port
from tests.celery_workers import running_worker, worker_environment
from tests.servers import wait_until
from tests.workloads import DESCRIPTION, send

MODEL = """\
queues:
  onboarding: {priority: 9, task_timeout: 30s}
  rest: {priority: 1, default: true, task_timeout: 2h}
workers:
  onboarding: {home: onboarding, concurrency: 3, hosts: {max: 2}}
  rest: {home: rest, lends_to: [onboarding], concurrency: 1, local: 2, hosts: {max: 4}}
"""


@pytest.fixture
def queues_file(tmp_path: Path) -> Path:
    file = tmp_path / "queues.yaml"
    file.write_text(MODEL)
    return file


@pytest.fixture
def fleet(queues_file: Path) -> queues.Fleet:
    return queues.load(queues_file)


@pytest.fixture
def environment(tmp_path: Path, redis_url: str, queues_file: Path) -> dict[str, str]:
    return worker_environment(tmp_path, redis_url, queues_file)


@pytest.fixture
def has_pools(metadata_orm: str, fleet: queues.Fleet) -> None:
    with create_session() as session:
        pools.ensure_pools(fleet, session)


class Pools:
    """The pools' slots after a look that is always due."""

    def __init__(self, fleet: queues.Fleet, broker_url: str) -> None:
        self._now = 0.0
        self._capacity = Capacity(fleet, broker_url, lambda: self._now)

    def follow(self) -> dict[str, int]:
        self._now += 1000
        self._capacity.tick()
        with create_session() as session:
            rows = session.execute(select(Pool.pool, Pool.slots))
            return {name: slots for name, slots in rows if name != "default_pool"}


def live(broker: redis.Redis) -> dict[str, LiveWorker]:
    return {worker.name.partition("@")[0]: worker for worker in live_workers.read(broker)}


def entry(name: str, concurrency: int = 1) -> LiveWorker:
    return LiveWorker(
        name=f"{name}@host",
        worker_class="rest",
        host="host",
        concurrency=concurrency,
        queues=("onboarding", "rest"),
        release="1",
    )


def test_slots_come_and_go_with_workers(
    environment, fleet, broker, redis_url: str, has_pools, tmp_path: Path
) -> None:
    seen = Pools(fleet, redis_url)
    assert seen.follow() == {"onboarding": 3, "rest": 1}, "nobody lives: those of one worker"
    with (
        running_worker(environment, "worker-rest", tmp_path / "1.log") as first,
        running_worker(environment, "worker-rest-2", tmp_path / "2.log") as second,
    ):
        wait_until(lambda: set(live(broker)) == {"rest", "rest-2"}, "two workers to live")
        found = live(broker)["rest"]
        assert (found.worker_class, found.concurrency) == ("rest", 1)
        assert found.queues == ("onboarding", "rest")
        assert seen.follow() == {"onboarding": 2, "rest": 2}
        # longer than an entry lives that is not renewed
        renewed = broker.zscore(live_workers.NAMES, found.name)
        late = renewed + live_workers.TTL
        wait_until(
            lambda: (broker.zscore(live_workers.NAMES, found.name) or 0) > late, "more beats"
        )
        assert set(live(broker)) == {"rest", "rest-2"}

        first.kill()
        wait_until(lambda: set(live(broker)) == {"rest-2"}, "the killed one's entry to go")
        assert seen.follow() == {"onboarding": 1, "rest": 1}

        second.terminate()
        wait_until(lambda: not live(broker), "the stopped one's entry to go")
        assert unserved(fleet, live_workers.read(broker)) == ["onboarding", "rest"]
        assert seen.follow() == {"onboarding": 3, "rest": 1}


def test_a_worker_that_stops_counts_for_what_it_still_runs(
    environment, fleet, broker, redis_url: str, has_pools, tmp_path: Path
) -> None:
    with running_worker(environment, "worker-onboarding", tmp_path / "log") as worker:
        wait_until(lambda: "onboarding" in live(broker), "the worker to live")
        assert live(broker)["onboarding"].taken_at is None
        send(environment)
        wait_until(lambda: bool(broker.hlen("unacked:onboarding")), "the task to run")
        wait_until(lambda: bool(live(broker)["onboarding"].tasks), "the worker to tell of it")
        told = live(broker)["onboarding"]
        assert [(task.task, task.queue) for task in told.tasks] == [(DESCRIPTION, "onboarding")]
        assert told.taken_at is not None
        worker.terminate()
        wait_until(lambda: live(broker)["onboarding"].queues == (), "the worker to stop")
        assert live(broker)["onboarding"].held == {"onboarding": 1}
        broker_entry = live_workers.read(broker)
        assert unserved(fleet, broker_entry) == ["onboarding", "rest"]
        live_workers.write(broker, entry("rest", concurrency=2))
        assert Pools(fleet, redis_url).follow() == {"onboarding": 3, "rest": 2}


def test_a_registry_out_of_reach_changes_nothing(fleet, broker, redis_url: str, has_pools) -> None:
    live_workers.write(broker, entry("rest", 3))
    assert Pools(fleet, redis_url).follow()["rest"] == 3
    nowhere = Pools(fleet, f"redis://127.0.0.1:{free_port()}/0")
    assert nowhere.follow() == {"onboarding": 3, "rest": 3}


def test_a_flushed_broker_knows_the_workers_again_at_their_next_beat(broker) -> None:
    live_workers.write(broker, entry("rest"))
    broker.flushall()
    assert live_workers.read(broker) == []
    live_workers.write(broker, entry("rest"))
    assert live_workers.read(broker) == [entry("rest")]


def test_what_is_no_entry_of_a_worker_is_passed_over(broker, caplog) -> None:
    live_workers.write(broker, entry("rest"))
    live_workers.write(broker, entry("strange"))
    broker.set("airlane:worker:strange@host", '{"concurrency": -1}')
    assert live_workers.read(broker) == [entry("rest")]
    assert "airlane:worker:strange@host" in caplog.text


def test_a_pool_that_another_scheduler_holds_is_written_at_a_later_look(
    fleet, broker, redis_url: str, has_pools, metadata_orm: str
) -> None:
    live_workers.write(broker, entry("rest", 3))
    seen = Pools(fleet, redis_url)
    with psycopg.connect(metadata_orm.replace("+psycopg", "")) as other:
        other.execute("SELECT * FROM slot_pool FOR UPDATE")
        assert seen.follow() == {"onboarding": 5, "rest": 2}, "as they were made"
    assert seen.follow() == {"onboarding": 3, "rest": 3}


def test_pools_are_written_on_change_only(
    fleet, broker, redis_url: str, has_pools, metadata_orm: str
) -> None:
    def versions() -> list[tuple[str, str]]:
        with psycopg.connect(metadata_orm.replace("+psycopg", "")) as connection:
            return connection.execute(
                "SELECT pool, xmin::text FROM slot_pool ORDER BY 1"
            ).fetchall()

    live_workers.write(broker, entry("rest", 3))
    seen = Pools(fleet, redis_url)
    seen.follow()
    before = versions()
    seen.follow()
    assert versions() == before
    live_workers.write(broker, entry("more"))
    seen.follow()
    assert {pool for pool, _ in set(versions()) - set(before)} == {"rest", "onboarding"}


def test_a_change_by_hand_is_put_right(fleet, broker, redis_url: str, has_pools) -> None:
    live_workers.write(broker, entry("rest", 3))
    seen = Pools(fleet, redis_url)
    expected = seen.follow()
    with create_session() as session:
        session.scalars(select(Pool).where(Pool.pool == "rest")).one().slots = 100
    assert seen.follow() == expected


def test_a_metadata_database_out_of_reach_does_not_raise(
    fleet, broker, redis_url: str, has_pools, metadata_orm: str, monkeypatch, caplog
) -> None:
    from airflow import settings
    from sqlalchemy import create_engine

    nowhere = create_engine(f"postgresql+psycopg://a:b@127.0.0.1:{free_port()}/none")
    with monkeypatch.context() as patch:
        patch.setattr(settings, "get_engine", lambda: nowhere)
        Capacity(fleet, redis_url).tick()
    assert "pools were not written" in caplog.text
