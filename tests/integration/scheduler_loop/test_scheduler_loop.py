"""Which runs the bounded scheduler loop examines, from a real metadata database."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from airflow_config import agenda as rules
from airflow_config import changed_runs
from airflow_config.large_runs import SWEEP_ALL
from airflow_config.scheduler_loop import SchedulerLoop
from airflow_config.wakeup import Change
from tests.clock import Clock
from tests.integration.scheduler_loop.examinations import BATCH, URGENT, Told, add, change, examined


def test_without_a_change_no_run_is_examined(loop: SchedulerLoop, writer: Any) -> None:
    add(writer, URGENT, "running")
    add(writer, BATCH, None)
    assert examined(loop) == []


def test_urgent_goes_first_and_batch_rests_after_its_pass(
    loop: SchedulerLoop, writer: Any, clock: Clock
) -> None:
    add(writer, BATCH, None)
    add(writer, URGENT, None)
    change(loop, BATCH, URGENT)
    assert examined(loop) == [URGENT]
    assert examined(loop) == [BATCH]
    change(loop, BATCH, URGENT)
    assert examined(loop) == [URGENT]
    assert examined(loop) == []
    clock.now += rules.GATHER
    assert examined(loop) == [BATCH]


def test_a_run_that_was_never_examined_needs_nobody_to_tell(
    loop: SchedulerLoop, writer: Any
) -> None:
    add(writer, URGENT, None)
    writer.execute("UPDATE dag_run SET last_scheduling_decision = NULL")
    assert examined(loop) == [URGENT]
    assert examined(loop) == []


@pytest.mark.parametrize(("listening", "seconds"), [(True, 16), (False, 2)])
def test_a_change_that_nobody_told_of_is_found_later(
    loop: SchedulerLoop, writer: Any, told: Told, clock: Clock, listening: bool, seconds: int
) -> None:
    told.listening = listening
    add(writer, URGENT, "success")
    assert examined(loop) == []
    writer.execute(
        "UPDATE dag_run SET last_scheduling_decision = now() - %s * interval '1 s'", [seconds]
    )
    clock.now += changed_runs.LOOK
    assert examined(loop) == [URGENT]


def test_a_sweep_leaves_runs_alone_whose_tasks_run_or_wait(
    loop: SchedulerLoop, writer: Any, clock: Clock
) -> None:
    add(writer, BATCH, "running", "scheduled", "success")
    add(writer, URGENT, "deferred")
    ago = "UPDATE dag_run SET last_scheduling_decision = now() - %s * interval '1 s'"
    writer.execute(ago, [changed_runs.SWEEP + 1])
    assert examined(loop) == []
    clock.now += changed_runs.SWEEP
    writer.execute("UPDATE task_instance SET state = NULL WHERE task_id = 't1'")
    assert examined(loop) == [BATCH]
    clock.now += changed_runs.SWEEP
    writer.execute(ago, [SWEEP_ALL + 1])
    assert sorted(examined(loop)) == [URGENT, BATCH], "for their own time-out"


def test_a_sweep_is_for_batch_passes(
    loop: SchedulerLoop, writer: Any, clock: Clock, told: Told
) -> None:
    add(writer, BATCH, None)
    add(writer, URGENT, None)
    assert examined(loop) == []  # a batch pass, so the next one must rest
    writer.execute("UPDATE dag_run SET last_scheduling_decision = now() - interval '20 s'")
    change(loop, URGENT)
    assert examined(loop) == [URGENT]
    clock.now += rules.IDLE
    assert examined(loop) == [BATCH]


def test_a_run_that_somebody_holds_is_taken_when_it_is_free(
    loop: SchedulerLoop, writer: Any, clock: Clock
) -> None:
    add(writer, URGENT, None)
    change(loop, URGENT)
    with writer.transaction():
        writer.execute("SELECT * FROM dag_run FOR UPDATE")
        assert examined(loop) == []
        clock.now += rules.LOCKED_RETRY
        assert examined(loop) == []
    clock.now += rules.LOCKED_RETRY
    assert examined(loop) == [URGENT]


def test_a_paused_dags_run_waits_for_the_end_of_the_pause(loop: SchedulerLoop, writer: Any) -> None:
    add(writer, URGENT, None)
    writer.execute("UPDATE dag SET is_paused = true")
    change(loop, URGENT)
    assert examined(loop) == []
    assert loop.agenda.patience() > 0
    writer.execute("UPDATE dag SET is_paused = false")
    loop._note([Change("dag", "onboarding")])
    assert examined(loop) == [URGENT]


def test_runs_that_wait_for_another_run_of_their_dag_are_looked_at_when_it_changes(
    loop: SchedulerLoop, writer: Any
) -> None:
    task = SimpleNamespace(depends_on_past=True, wait_for_downstream=False)
    bag = SimpleNamespace(
        get_dag_for_run=lambda *_: SimpleNamespace(tasks=[task], dagrun_timeout=None)
    )
    loop._runner = SimpleNamespace(scheduler_dag_bag=bag)
    second = ("onboarding", "u2")
    add(writer, URGENT, "running")
    add(writer, second, None)
    change(loop, URGENT)
    # The first look at the DAG finds out that its runs wait for one another.
    assert examined(loop) == [URGENT]
    change(loop, URGENT)
    assert sorted(examined(loop)) == [URGENT, second]
    task.depends_on_past = False
    loop._dags_read.clear()
    change(loop, URGENT)
    assert sorted(examined(loop)) == [URGENT, second]
    change(loop, URGENT)
    assert examined(loop) == [URGENT]


def test_runs_that_nobody_tells_of_are_looked_for_twice_a_second(
    loop: SchedulerLoop, writer: Any, clock: Clock
) -> None:
    assert examined(loop) == []
    add(writer, URGENT, None)
    writer.execute("UPDATE dag_run SET last_scheduling_decision = NULL")
    assert examined(loop) == []
    clock.now += changed_runs.LOOK
    assert examined(loop) == [URGENT]
