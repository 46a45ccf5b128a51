"""What else the bounded loop does: it starts and creates runs, queues tasks, rests."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from airflow.models.dagrun import DagRun
from airflow.utils.session import create_session
from sqlalchemy import select

from airflow_config import agenda as rules
from airflow_config.scheduler_candidates import Candidates
from airflow_config.scheduler_loop import SchedulerLoop
from airflow_config.wakeup import Change
from tests.clock import Clock
from tests.integration.scheduler_loop.examinations import BATCH, URGENT, Told, add, change, examined


def test_queued_urgent_runs_start_before_batch_runs_that_came_first(
    loop: SchedulerLoop, writer: Any
) -> None:
    add(writer, BATCH, None, state="queued")
    add(writer, URGENT, None, state="queued")
    change(loop, BATCH, URGENT, kind="run")
    stock: list[Any] = []
    with create_session() as session:
        loop.agenda.batch_pass = False
        runs = loop._around_queued(lambda _: stock)(session)
        assert [(run.dag_id, run.run_id) for run in runs] == [URGENT]
    assert not loop.agenda.new_runs


def test_a_loop_for_urgent_work_sees_batch_pools_as_full(loop: SchedulerLoop) -> None:
    def stats(**_: Any) -> dict[str, dict[str, int]]:
        return {name: {"open": 5} for name in ("onboarding", "control", "batch", "default_pool")}

    around = Candidates(loop._is_examined).around_pools(stats)
    loop.agenda.batch_pass = False
    seen = {name: pool["open"] for name, pool in around(lock_rows=True).items()}
    assert seen == {"onboarding": 5, "control": 5, "batch": 0, "default_pool": 0}
    assert around()["batch"] == {"open": 5}
    loop.agenda.batch_pass = True
    assert around(lock_rows=True)["batch"] == {"open": 5}


def test_news_of_batch_work_waits_for_its_turn_without_a_pass(
    loop: SchedulerLoop, writer: Any, told: Told
) -> None:
    session: Any = SimpleNamespace(info={})

    def scheduled(*changes: Change) -> bool:
        told.changes = list(changes)
        return loop._schedule(lambda *_: 0, None, session, 0) is not None

    add(writer, BATCH, None)
    add(writer, URGENT, None)
    change(loop, BATCH, URGENT)
    assert scheduled(), "nothing is known of the runs yet"
    assert set(examined(loop)) == {URGENT}
    assert examined(loop) == [BATCH]
    assert not scheduled(Change("task", *BATCH))
    assert scheduled(Change("task", *URGENT))
    assert scheduled(Change("dag", "rescore"))


def test_few_runs_are_created_at_a_time_while_an_urgent_run_is_on_its_way(
    loop: SchedulerLoop, writer: Any, clock: Clock
) -> None:
    from airflow.models.dag import DagModel

    usual = DagModel.NUM_DAGS_PER_DAGRUN_QUERY
    limits = []

    def create(*_: Any) -> None:
        limits.append(DagModel.NUM_DAGS_PER_DAGRUN_QUERY)
        if len(limits) > 1:
            raise RuntimeError("the database is away")

    around = loop._around_creating(create)
    loop.agenda.begin(["create"])
    around(None, None, None)
    loop.agenda.passed(0)
    add(writer, URGENT, None)
    change(loop, URGENT)
    assert examined(loop) == [URGENT]
    clock.now += 2 * rules.IDLE
    loop._created_at = float("-inf")
    loop.agenda.begin(["create"])
    with pytest.raises(RuntimeError):
        around(None, None, None)
    assert limits == [usual, rules.PRESSED["create"]]
    assert usual == DagModel.NUM_DAGS_PER_DAGRUN_QUERY


def test_a_batch_run_that_is_started_is_examined_though_nobody_tells(
    loop: SchedulerLoop, writer: Any, clock: Clock
) -> None:
    add(writer, BATCH, None, state="queued")
    change(loop, BATCH, kind="run")
    loop.agenda.begin()
    assert loop.agenda.patience() == 0, "it might be urgent"
    assert examined(loop) == []
    with create_session() as session:
        (run,) = session.scalars(select(DagRun).where(DagRun.run_id == BATCH[1]))
        # once to learn that it is batch work, once to start it
        for stock in ([], [run]):
            clock.now += 2 * rules.IDLE
            loop.agenda.begin(["create", "start"])
            started = loop._around_queued(lambda _, found=stock: found)(session)
        assert started == [run]
    writer.execute("UPDATE dag_run SET state = 'running', last_scheduling_decision = now()")
    clock.now += rules.GATHER
    assert examined(loop) == [BATCH]
