"""Which runs the bounded scheduler loop takes, from a real metadata database."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from airflow.models.dagrun import DagRun
from airflow.utils.session import create_session
from sqlalchemy import select

from airflow_config import agenda as rules
from airflow_config import changed_runs, queues, scheduler_fit
from airflow_config.agenda import Run
from airflow_config.large_runs import SWEEP_ALL
from airflow_config.scheduler_candidates import Candidates
from airflow_config.scheduler_loop import SchedulerLoop
from airflow_config.wakeup import Change
from tests.metadata_database import edit_dag, insert_dag, insert_run, insert_task

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
URGENT, BATCH = ("onboarding", "u"), ("rescore", "b")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Told:
    """Stands for the wake-up."""

    listening: bool = True
    since: datetime = LONG_AGO
    changes: list[Change] = field(default_factory=list)

    def wait(self, seconds: float) -> list[Change]:  # noqa: ARG002
        changes, self.changes = self.changes, []
        return changes


@pytest.fixture
def writer(metadata_url: str) -> Iterator[psycopg.Connection]:
    url = metadata_url.replace("+psycopg", "")
    with psycopg.connect(url, autocommit=True) as connection:
        for dag_id in ("onboarding", "rescore"):
            insert_dag(connection, dag_id)
        yield connection


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def loop(metadata_orm: None, told: Told, clock: Clock) -> SchedulerLoop:
    return SchedulerLoop(queues.load(), told, clock)  # type: ignore[arg-type]


def add(writer: psycopg.Connection, run: Run, *states: str | None, state: str = "running") -> None:
    """Add a run that was examined just now; one task for each state."""
    dag_id, run_id = run
    insert_run(writer, run_id, state, dag_id)
    weight = 100_000 if dag_id == "onboarding" else 1_000
    for number, task_state in enumerate(states):
        insert_task(writer, f"t{number}", run_id, task_state, dag_id, weight)
    if state == "running":
        writer.execute(
            "UPDATE dag_run SET last_scheduling_decision = now() WHERE run_id = %s", [run_id]
        )


def change(loop: SchedulerLoop, *runs: Run, kind: Any = "task") -> None:
    loop._note([Change(kind, *run) for run in runs])


def examined(loop: SchedulerLoop) -> list[Run]:
    """One loop: what it locks and examines; an examination sets the time, as Airflow does."""
    loop.agenda.begin()
    with create_session() as session:
        runs = loop.runs_to_examine(session=session)
        for run in runs:
            run.last_scheduling_decision = datetime.now(UTC)
        found = [(run.dag_id, run.run_id) for run in runs]
    if loop.agenda.batch_pass:
        loop.agenda.passed(0)
    return found


def test_the_installed_airflow_is_the_one_that_was_read() -> None:
    assert scheduler_fit.misfits() == []


def test_another_source_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(scheduler_fit.SOURCES, "Pool.slots_stats", "0" * 16)
    monkeypatch.setitem(scheduler_fit.SOURCES, "Pool.gone", "0" * 16)
    monkeypatch.setattr(scheduler_fit, "VERSIONS", ("9.9.9",))
    version, stats, gone = scheduler_fit.misfits()
    assert "expected Airflow 9.9.9" in version
    assert stats.startswith("Pool.slots_stats: expected source 0000")
    assert "Pool.gone" in gone


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


def test_the_executor_says_when_it_cannot_bound_the_loop(
    metadata_orm: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from airflow.models.dagrun import DagRun

    from airflow_config.executor import AirlaneExecutor

    monkeypatch.setattr(scheduler_fit, "VERSIONS", ("9.9.9",))
    stock = DagRun.get_running_dag_runs_to_examine
    executor = AirlaneExecutor()
    executor.start()
    try:
        assert DagRun.get_running_dag_runs_to_examine == stock
        assert "expected Airflow 9.9.9" in capsys.readouterr().out
    finally:
        executor.end()


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


def test_runs_that_nobody_tells_of_are_looked_for_twice_a_second(
    loop: SchedulerLoop, writer: Any, clock: Clock
) -> None:
    assert examined(loop) == []
    add(writer, URGENT, None)
    writer.execute("UPDATE dag_run SET last_scheduling_decision = NULL")
    assert examined(loop) == []
    clock.now += changed_runs.LOOK
    assert examined(loop) == [URGENT]
