"""What the engine promises, whatever happens to it: order, and each task once.

Workers come and go in a flood, a wake-up is lost, the broker forgets everything while the
scheduler restarts, two schedulers work at once, a DAG is edited under its runs. Some of that takes
a minute to be noticed, so it is begun early and looked at late.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis

from airflow_config.place import ROOT
from deploy.local.caller import passed_on
from tests.acceptance.effects import Effects
from tests.acceptance.stack import Stack
from tests.servers import wait_until

_DAGS = Path(__file__).with_name("engine_dags")
_FLOOD, _PROBES, _SINGLES = 160, 4, 6
#: Batch tasks that wait until the last urgent one is queued.
_OVERTAKEN = 20
_LISTENERS = "SELECT pid FROM pg_stat_activity WHERE query = 'LISTEN airlane_scheduler'"


@pytest.fixture(scope="module")
def engine(session_stack: Stack) -> Stack:
    """The stack with a model and this file's DAGs."""
    session_stack.need_model()
    for source in _DAGS.glob("*.py"):
        (session_stack.dags / source.name).write_text(source.read_text())
    wanted = {"engine_flood", "engine_single", "engine_edited", "onboarding_probe"}
    parsed = "SELECT dag_id FROM dag WHERE NOT is_stale"
    found = lambda: {row["dag_id"] for row in session_stack.metadata(parsed)}  # noqa: E731
    wait_until(lambda: wanted <= found(), "the DAG files to be read", 120)
    return session_stack


@pytest.fixture(scope="module")
def effects(tmp_path_factory: pytest.TempPathFactory) -> Effects:
    return Effects(tmp_path_factory.mktemp("effects") / "lines")


@contextmanager
def _program(words: list[str], environment: dict[str, str], log: Path) -> Iterator[Any]:
    """Run a part of the stack that its supervisor does not know; nothing of it is left."""
    with (
        log.open("wb") as out,
        subprocess.Popen(
            [sys.executable, "-m", *words],
            env=environment,
            cwd=ROOT,
            stdout=out,
            stderr=out,
            start_new_session=True,
        ) as process,
    ):
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


@contextmanager
def _broker(stack: Stack) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(stack.instance.broker_url("operator")) as client:
        yield client


def _kill(pid: int) -> set[int]:
    """Kill a process and all that it started; return their ids."""
    main = psutil.Process(pid)
    found: dict[int, psutil.Process] = {}
    # stopped first: none of them starts another one meanwhile
    while new := [p for p in (main, *main.children(recursive=True)) if p.pid not in found]:
        for process in new:
            found[process.pid] = process
            with suppress(psutil.NoSuchProcess):
                process.suspend()
    for process in found.values():
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(list(found.values()), timeout=20)
    return set(found)


def _slots(stack: Stack, pool: str = "batch") -> int:
    return int(stack.metadata("SELECT slots FROM slot_pool WHERE pool = %s", pool)[0]["slots"])


def _attempts(stack: Stack, *runs: str) -> list[int]:
    return [task["try_number"] for task in stack.tasks(*runs)]


# ---- the broker forgets, the scheduler restarts


@pytest.fixture(scope="module")
def forgotten(engine: Stack, effects: Effects) -> list[str]:
    """Runs whose messages were on the broker when it was emptied, and no scheduler lived."""
    worker = psutil.Process(engine.part("worker-batch")["pid"])
    scheduler = engine.part("scheduler")["pid"]
    # it takes nothing; what its children run goes on
    worker.suspend()
    try:
        conf = {"file": str(effects.file)}
        runs = [engine.trigger("engine_single", **conf) for _ in range(_SINGLES)]
        with _broker(engine) as broker:
            sent = lambda: engine.states(*runs)["queued"] == _SINGLES  # noqa: E731
            lies: Callable[[], Any] = lambda: broker.llen("batch")  # noqa: E731
            wait_until(lambda: sent() and lies() >= _SINGLES - 1, "messages on the broker", 60)
            _kill(scheduler)
            broker.flushall()
    finally:
        worker.resume()
    engine.await_health()
    assert engine.part("scheduler")["pid"] != scheduler
    return runs


def test_the_scheduler_is_back_after_the_brokers_flush(engine: Stack, forgotten: list[str]) -> None:
    assert forgotten
    probe = engine.trigger("onboarding_probe")
    engine.await_run("onboarding_probe", probe, 60)
    assert set(_attempts(engine, probe)) == {1}


# ---- workers come and go in a flood


@dataclass(frozen=True)
class Scaled:
    flood: str
    probes: list[str]
    #: Ids of the killed worker's processes.
    killed: set[int]
    slots: tuple[int, int]


@pytest.fixture(scope="module")
def scaled(
    engine: Stack, effects: Effects, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scaled]:
    """Two more workers in a flood: one is stopped in the middle of tasks, one is killed."""
    logs = tmp_path_factory.mktemp("workers")
    one = _slots(engine)

    def extra(name: str) -> Any:
        return _program(["airlane", "worker", "batch"], engine.environment, logs / name)

    with extra("stopped") as stopped, extra("killed") as killed:
        wait_until(lambda: _slots(engine) == 3 * one, "the pool to follow the workers", 120)
        conf = {"count": _FLOOD, "seconds": 1.5, "file": str(effects.file)}
        flood = engine.trigger("engine_flood", **conf)
        made = lambda: (found := engine.states(flood)).total() - found["none"] > 0.9 * _FLOOD  # noqa: E731
        wait_until(made, "the flood to wait", 60)
        probes = [engine.trigger("onboarding_probe") for _ in range(_PROBES)]
        at_work = lambda worker: bool(effects.below(flood, worker.pid))  # noqa: E731
        wait_until(lambda: at_work(stopped) and at_work(killed), "all workers to be at work", 60)
        # not cut by the kill: lent workers run urgent steps too
        for probe in probes:
            engine.await_run("onboarding_probe", probe, 120)
        stopped.send_signal(signal.SIGTERM)
        # in the middle of tasks: more began there than ended
        ended = lambda: {line["number"] for line in effects.lines(flood, "end")}  # noqa: E731
        held = lambda: {line["number"] for line in effects.below(flood, killed.pid)} - ended()  # noqa: E731
        wait_until(lambda: bool(held()), "the worker to be in the middle of a task", 60)
        ids = _kill(killed.pid)
        assert stopped.wait(60) == 0, (logs / "stopped").read_text()[-2000:]
        yield Scaled(flood, probes, ids, (one, 3 * one))


def test_urgent_goes_before_batch_whenever_both_can_run(engine: Stack, scaled: Scaled) -> None:
    urgent = engine.tasks(*scaled.probes)
    assert len(urgent) == 4 * _PROBES
    batch = [task for task in engine.tasks(scaled.flood) if task["task_id"] == "work"]
    last = max(task["queued_dttm"] for task in urgent)
    first = min(task["scheduled_dttm"] for task in urgent)
    waited = [task for task in batch if task["scheduled_dttm"] and task["scheduled_dttm"] < first]
    behind = [task for task in waited if not task["queued_dttm"] or task["queued_dttm"] > last]
    assert len(behind) >= _OVERTAKEN, f"of {len(waited)} that waited: was it a flood?"
    for step in urgent:
        overtaking = [
            task["map_index"]
            for task in batch
            if task["queued_dttm"] and step["scheduled_dttm"] < task["queued_dttm"]
            if task["queued_dttm"] < step["queued_dttm"]
        ]
        assert not overtaking, f"before {step['task_id']} of {step['run_id']}"


def test_capacity_goes_with_the_workers(engine: Stack, scaled: Scaled) -> None:
    before, during = scaled.slots
    assert during == 3 * before
    wait_until(lambda: _slots(engine) == before, "the pool to follow the workers", 60)


# ---- a DAG file is edited


def test_a_dag_that_is_edited_goes_on_with_what_it_says_now(engine: Stack, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    run = engine.trigger("engine_edited", gate=str(gate))
    wait_until(lambda: engine.states(run)["running"] == 1, "the first step to run", 60)
    file = engine.dags / "engine_edited.py"
    text = file.read_text()
    edited = text.replace("as it was", "as it is").replace(
        "chain(first(), second())", "chain(first(), second(), second.override(task_id='third')())"
    )
    assert edited.count("third") == 1
    file.write_text(edited)
    # Airflow adds the step to the run that goes on.
    wait_until(lambda: len(engine.tasks(run)) == 3, "the edited DAG to be read", 120)
    gate.touch()
    engine.await_run("engine_edited", run, 60)
    assert engine.states(run) == {"success": 3}
    query = "SELECT task_id, value FROM xcom WHERE run_id = %s AND key = 'return_value'"
    found = {row["task_id"]: row["value"] for row in engine.metadata(query, run)}
    assert found == {"second": "as it is", "third": "as it is"}
    assert set(_attempts(engine, run)) == {1}


# ---- a wake-up is lost


def test_runs_end_when_the_wakeup_is_lost(engine: Stack, effects: Effects) -> None:
    flood = engine.trigger("engine_flood", count=20, seconds=0.2, file=str(effects.file))
    probes = []
    for _ in range(3):
        wait_until(lambda: bool(engine.metadata(_LISTENERS)), "the scheduler to listen", 60)
        for row in engine.metadata(_LISTENERS):
            engine.metadata("SELECT pg_terminate_backend(%s)", row["pid"])
        # told to nobody
        probes.append(engine.trigger("onboarding_probe"))
    for probe in probes:
        engine.await_run("onboarding_probe", probe, 120)
    engine.await_run("engine_flood", flood, 120)
    effects.expect_once(flood, 20)
    wait_until(lambda: len(engine.metadata(_LISTENERS)) == 1, "the scheduler to listen", 60)


# ---- two schedulers


@pytest.fixture
def second_scheduler(engine: Stack, tmp_path: Path) -> Iterator[Any]:
    part = engine.instance.environment("scheduler-2", "control")
    words = ["airflow", "scheduler", "--skip-serve-logs"]
    with _program(words, passed_on() | part, tmp_path / "log") as process:
        both = lambda: len(engine.metadata(_LISTENERS)) == 2  # noqa: E731
        wait_until(lambda: process.poll() is not None or both(), "two schedulers", 120)
        assert process.poll() is None, (tmp_path / "log").read_text()[-3000:]
        yield process
        process.terminate()
        process.wait(60)


@pytest.mark.usefixtures("second_scheduler")
def test_two_schedulers_run_each_task_once(engine: Stack, effects: Effects) -> None:
    flood = engine.trigger("engine_flood", count=40, seconds=0.1, file=str(effects.file))
    events = engine.sign_up(*range(111, 121))
    engine.decided(events)
    runs = [f"signup-{event}" for event in events]
    for run in runs:
        engine.await_run("onboarding", run, 60)
    engine.await_run("engine_flood", flood, 120)
    engine.expect_once(events)
    effects.expect_once(flood, 40)
    assert set(_attempts(engine, flood, *runs)) <= {0, 1}


# ---- what took its time


def test_no_task_of_a_flood_is_lost_or_run_twice_by_workers_that_come_and_go(
    engine: Stack, effects: Effects, scaled: Scaled
) -> None:
    engine.await_run("engine_flood", scaled.flood, 240)
    assert engine.states(scaled.flood) == {"success": _FLOOD + 1}
    # Only the killed worker's tries ended in another one, some before they said that they began.
    query = (
        "SELECT map_index, try_number FROM task_instance_history"
        " WHERE run_id = %s AND task_id = 'work' AND pid = ANY(%s)"
    )
    rows = engine.metadata(query, scaled.flood, list(scaled.killed))
    cut = {(row["map_index"], row["try_number"]) for row in rows}
    assert cut, "nothing was interrupted by the kill"
    effects.expect_once(scaled.flood, _FLOOD, cut)
    # Airflow knows of the same tries.
    query = "SELECT map_index, try_number FROM task_instance WHERE run_id = %s AND task_id = 'work'"
    known = {row["map_index"]: row["try_number"] for row in engine.metadata(query, scaled.flood)}
    assert known == {line["number"]: line["try"] for line in effects.lines(scaled.flood)}


def test_what_the_broker_forgot_is_sent_again_and_runs_once(
    engine: Stack, effects: Effects, forgotten: list[str]
) -> None:
    for run in forgotten:
        engine.await_run("engine_single", run, 240)
        assert len(effects.lines(run)) == len(effects.lines(run, "end")) == 1
    engine.await_health()
