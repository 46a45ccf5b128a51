"""queues.yaml is changed under running tasks: what must restarts, and each task runs once."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from airflow_config.place import ROOT
from tests.acceptance.effects import Effects
from tests.acceptance.stack import COMMAND_DEADLINE, Stack
from tests.servers import wait_until

_DAG = Path(__file__).with_name("engine_dags") / "engine_flood.py"
_TASKS = 60
#: Seconds for a whole change: a part that restarts loads Airflow.
_APPLY_DEADLINE = 420


@dataclass(frozen=True)
class Change:
    """A file that may be changed, and what the tasks of a flood beside it did."""

    stack: Stack
    file: Path
    effects: Effects

    def pids(self) -> dict[str, int]:
        return {part["name"]: part["pid"] for part in self.stack.await_health()["parts"]}

    def apply(self) -> str:
        return self.stack.run("apply", deadline=_APPLY_DEADLINE).stdout

    def replace(self, old: str, new: str) -> None:
        text = self.file.read_text()
        assert old in text
        self.file.write_text(text.replace(old, new))


@pytest.fixture
def change(stack: Stack, tmp_path: Path) -> Iterator[Change]:
    shipped = (ROOT / "queues.yaml").read_text()
    file = tmp_path / "queues.yaml"
    file.write_text(shipped)
    shutil.copy(_DAG, stack.dags)
    stack.environment["AIRLANE_QUEUES"] = str(file)
    found = Change(stack, file, Effects(tmp_path / "effects"))
    try:
        yield found
        # the tests after this one find what they expect
        file.write_text(shipped)
        found.apply()
        assert stack.json("diff")["changed"] is False
    finally:
        del stack.environment["AIRLANE_QUEUES"]


def _actions(found: dict[str, Any]) -> dict[str, str]:
    return {part["name"]: part["action"] for part in found["parts"]}


def _slots(stack: Stack) -> dict[str, int]:
    return {row["pool"]: row["slots"] for row in stack.metadata("SELECT * FROM slot_pool")}


@pytest.mark.timeout(1800)
def test_a_change_under_running_tasks_loses_none(change: Change) -> None:
    stack = change.stack
    parsed = "SELECT 1 FROM dag WHERE dag_id = 'engine_flood' AND NOT is_stale"
    wait_until(lambda: bool(stack.metadata(parsed)), "the DAG to be read", 180)
    before = change.pids()
    assert stack.json("diff") == {
        "changed": False,
        "settings": [],
        "pools": [],
        "parts": [],
        "unchanged": list(before),
    }
    # a comment is no change
    change.file.write_text(f"{change.file.read_text()}# a comment\n")
    assert stack.json("diff")["changed"] is False

    flood = stack.trigger("engine_flood", count=_TASKS, seconds=1.5, file=str(change.effects.file))
    wait_until(lambda: len(change.effects.lines(flood)) > 4, "batch tasks to run", 180)
    change.replace("[control, onboarding], concurrency: 8", "[control, onboarding], concurrency: 5")
    change.replace("workers: #", "  reports: {priority: 2, task_timeout: 10m}\n\nworkers: #")
    change.replace(
        "  control: {home", "  reports: {home: reports, concurrency: 1}\n  control: {home"
    )
    found = stack.json("diff", code=1)
    assert _actions(found) == {
        "scheduler": "restart",
        "dag-processor": "restart",
        "worker-batch": "restart",
        "worker-reports": "start",
        "flower": "restart",
    }
    why = next(part for part in found["parts"] if part["name"] == "worker-batch")["why"]
    assert any("--concurrency 8 -> 5" in reason for reason in why)
    assert {pool["name"]: (pool["before"], pool["after"]) for pool in found["pools"]} == {
        "onboarding": (16, 13),
        "control": (10, 7),
        "batch": (8, 5),
        "reports": (None, 1),
    }

    said = change.apply()
    assert "worker-batch takes nothing new" in said
    after = change.pids()
    restarted = {name for name, pid in before.items() if after[name] != pid}
    assert restarted == {"scheduler", "dag-processor", "worker-batch", "flower"}
    assert set(after) - set(before) == {"worker-reports"}
    wanted = {"onboarding": 13, "control": 7, "batch": 5, "reports": 1}
    wait_until(lambda: wanted.items() <= _slots(stack).items(), "pools as the workers are", 60)

    assert "was in use already" in change.apply()
    assert change.pids() == after
    stack.await_run("engine_flood", flood, 600)
    # once each: no try was cut off, and none ran twice
    change.effects.expect_once(flood, _TASKS)
    assert {task["try_number"] for task in stack.tasks(flood)} == {1}


@pytest.mark.timeout(1200)
def test_an_interrupted_change_goes_on(change: Change) -> None:
    stack = change.stack
    flood = stack.trigger("engine_flood", count=8, seconds=20, file=str(change.effects.file))
    wait_until(lambda: len(change.effects.lines(flood)) > 4, "batch tasks to run", 180)
    before = change.pids()
    change.replace(
        "lends_to: [control, onboarding], concurrency: 8",
        "lends_to: [control, onboarding], concurrency: 7",
    )
    command = [sys.executable, "-m", "airlane", "apply"]
    # a shell that starts tests in the background has SIGINT ignored, and children inherit that
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(
        command, cwd=ROOT, env=stack.environment, stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        for line in running.stdout:
            if "worker-batch takes nothing new" in line:
                running.send_signal(signal.SIGINT)
                break
        running.stdout.read()
        assert running.wait(COMMAND_DEADLINE) == 130
    # it goes on with its tasks and takes new ones
    assert change.pids()["worker-batch"] == before["worker-batch"]
    assert "worker-batch" in _actions(stack.json("diff", code=1))
    change.apply()
    after = change.pids()
    assert after["worker-batch"] != before["worker-batch"]
    assert after["worker-onboarding"] == before["worker-onboarding"]
    assert stack.json("diff")["changed"] is False
    stack.await_run("engine_flood", flood, 300)
    change.effects.expect_once(flood, 8)


@pytest.mark.timeout(900)
def test_a_queue_with_unfinished_tasks_is_not_taken_out(change: Change) -> None:
    stack = change.stack
    change.replace("workers: #", "  low: {priority: 2, task_timeout: 10m}\n\nworkers: #")
    change.replace("  control: {home", "  low: {home: low, concurrency: 1}\n  control: {home")
    change.apply()
    row = "SELECT ti.id FROM task_instance ti WHERE queue = 'batch' AND state = 'success' LIMIT 1"
    (task,) = stack.metadata(row)
    stack.metadata(
        "UPDATE task_instance SET queue = 'low', state = 'up_for_retry' WHERE id = %s RETURNING id",
        task["id"],
    )
    try:
        change.file.write_text((ROOT / "queues.yaml").read_text())
        before = change.pids()
        refused = stack.run("apply", code=1)
        assert "found 1 of queue low: nobody would run them" in refused.stderr
        assert change.pids() == before
    finally:
        stack.metadata(
            "UPDATE task_instance SET queue = 'batch', state = 'success' WHERE id = %s "
            "RETURNING id",
            task["id"],
        )
