"""What people see of queues and workers."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

from rich.console import Console

from airflow_config.live_workers import LiveWorker, RunningTask
from airlane import queue_commands, worker_commands
from airlane.queue_history import History, Kept
from airlane.queue_state import QueueState


def seen(view: object, *, colours: bool = False) -> str:
    console = Console(file=io.StringIO(), width=160, highlight=False, force_terminal=colours)
    console.print(view)
    return console.file.getvalue()


def queue(**changes: object) -> QueueState:
    values = {
        **{"name": "onboarding", "priority": 100, "waiting": 1, "unacked": 2, "oldest_s": 3.2},
        **{"scheduled": 4, "running": 5, "slots_used": 6, "slots_total": 16, "workers": 2},
        **{"arrivals_per_minute": 32.4, "completions_per_minute": 32.0},
        **{"promise": None, "kept": None},
    }
    return QueueState(**{**values, **changes})


PROMISE = {"end_to_end": 180.0, "task": 60.0, "gap": 3.0}


def kept(share_of_100: int) -> dict[str, object]:
    return Kept(100, share_of_100).to_json()


def test_a_queue_is_a_line() -> None:
    header, line = seen(queue_commands.view([queue()])).splitlines()
    assert line.split() == [
        "onboarding",
        "100",
        "4",
        "1",
        "3.2",
        "s",
        "5",
        "6/16",
        "2",
        *("32.4", "32"),
    ]
    assert header.split()[-2:] == ["in/min", "out/min"]


def test_what_was_kept_stands_below_and_is_red_where_it_is_less_than_promised() -> None:
    found = queue(
        promise=PROMISE,
        kept={"end_to_end": Kept(0, 0).to_json(), "task": kept(95), "gap": kept(94)},
    )
    line = seen(queue_commands.view([found, queue(name="batch")])).splitlines()[-1]
    assert line.strip() == (
        "onboarding, last hour:  decided within 3 min 0 s: none  "
        "tasks within 60.0 s: 95 of 100 (95.0%)  gaps within 3.0 s: 94 of 100 (94.0%)"
    )
    coloured = seen(queue_commands.view([found]), colours=True)
    assert "\x1b[31m  gaps within" in coloured
    assert "\x1b[31m  tasks within" not in coloured


def test_shares_are_told_to_programs_as_numbers() -> None:
    assert kept(94) == {"count": 100, "kept": 94, "share": 0.94}
    assert Kept(0, 0).to_json()["share"] is None
    assert History().task is None


def worker(tasks: int = 0, **changes: object) -> LiveWorker:
    now = datetime.now(UTC)
    running = tuple(
        RunningTask(task=f"(batch.t{n} run=r try=1)", queue="batch", since=now - timedelta(hours=n))
        for n in range(tasks)
    )
    values = {
        **{"name": "batch@w1", "worker_class": "batch", "host": "w1", "concurrency": 8},
        **{"queues": ("batch",), "running": tasks, "longest_s": 3600.0 * max(0, tasks - 1)},
        **{"release": "1.0", "tasks": running, "taken_at": now - timedelta(hours=3)},
    }
    return LiveWorker(**{**values, **changes})


def test_a_worker_tells_its_class_slots_and_when_it_last_took_a_task() -> None:
    line = seen(worker_commands.view([worker()])).splitlines()[1]
    assert line.split() == [
        *("batch@w1", "batch", "8", "0", "-", "3", "h", "0", "min", "ago", "batch", "1.0"),
    ]


def test_its_tasks_stand_below_the_longest_first() -> None:
    lines = seen(worker_commands.view([worker(7)])).splitlines()
    assert [line.split()[-3].strip("(") for line in lines[2:7]] == [
        f"batch.t{n}" for n in (6, 5, 4, 3, 2)
    ]
    assert lines[7].strip() == "batch@w1 and 2 more: airlane tasks"


def test_a_worker_of_an_older_release_tells_less() -> None:
    entry = worker().model_dump(exclude={"tasks", "taken_at"}) | {"running": 2, "release": "0.9"}
    older = LiveWorker(**entry)
    said = seen(worker_commands.view([worker(), older]))
    assert "several releases: 1.0 (1), 0.9 (1)" in said
    assert seen(worker_commands.view([])).splitlines()[-1].strip() == "No live worker."
