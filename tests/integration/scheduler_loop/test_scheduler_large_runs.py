"""Large batch runs are examined only when it is of use."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

from airflow_config import agenda as rules
from airflow_config.large_runs import SWEEP_ALL
from airflow_config.scheduler_loop import SchedulerLoop
from tests.clock import Clock
from tests.integration.scheduler_loop.examinations import BATCH, add, change, examined
from tests.metadata_database import edit_dag


def test_a_large_batch_run_is_left_alone_until_something_can_be_scheduled(
    loop: SchedulerLoop, writer: Any, clock: Clock
) -> None:
    add(writer, BATCH, *["scheduled"] * rules.LARGE)
    change(loop, BATCH)
    assert examined(loop) == []
    # now it is known to be batch, and large
    change(loop, BATCH)
    clock.now += rules.GATHER
    assert examined(loop) == []
    for state in ("up_for_retry", None, "success"):
        # with `success`, all have ended, and the run's own state must be found
        which = "t%" if state == "success" else "t0"
        writer.execute("UPDATE task_instance SET state = %s WHERE task_id LIKE %s", [state, which])
        change(loop, BATCH)
        clock.now += rules.GATHER
        assert examined(loop) == [BATCH]


def test_a_large_batch_run_is_examined_once_in_a_while_and_when_its_dag_is_edited(
    loop: SchedulerLoop, writer: Any, clock: Clock
) -> None:
    add(writer, BATCH, *["running"] * rules.LARGE)
    ago = "UPDATE dag_run SET last_scheduling_decision = now() - %s * interval '1 s'"
    writer.execute(ago, [SWEEP_ALL + 1])
    assert examined(loop) == [BATCH]
    writer.execute(ago, [SWEEP_ALL - 1])
    change(loop, BATCH)
    clock.now += rules.GATHER
    assert examined(loop) == []
    edit_dag(writer, BATCH[0])
    change(loop, BATCH)
    clock.now += rules.GATHER
    assert examined(loop) == [BATCH]
    change(loop, BATCH)
    clock.now += rules.GATHER
    assert examined(loop) == []


def test_a_large_batch_run_is_examined_when_its_own_time_is_up(
    loop: SchedulerLoop, writer: Any, clock: Clock
) -> None:
    dag = SimpleNamespace(tasks=[], dagrun_timeout=timedelta(seconds=30))
    bag = SimpleNamespace(get_dag_for_run=lambda *_: dag)
    loop._runner = SimpleNamespace(scheduler_dag_bag=bag)
    add(writer, BATCH, None, *["running"] * rules.LARGE)
    writer.execute("UPDATE dag_run SET start_date = now()")
    change(loop, BATCH)
    # until it is known, it may be urgent: then a batch pass takes it
    assert examined(loop) == []
    clock.now += rules.GATHER
    assert examined(loop) == [BATCH], "it has something to schedule"
    writer.execute("UPDATE task_instance SET state = 'running'")
    for age, found in ((29, []), (31, [BATCH])):
        writer.execute("UPDATE dag_run SET start_date = now() - %s * interval '1 s'", [age])
        change(loop, BATCH)
        clock.now += rules.GATHER
        assert examined(loop) == found
