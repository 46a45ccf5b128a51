"""Stopping, starting again, cleaning up after the worst, and deleting; the last file to run."""

from __future__ import annotations

import time
from contextlib import suppress

import psutil

from deploy.local.stack import locked
from deploy.local.supervisor import Supervisor
from tests.acceptance.stack import DOWN_DEADLINE, Stack
from tests.servers import wait_until

BATCH = 60
#: Tasks that do not end by themselves when the stack is stopped.
LONG = 3
#: Seconds after which a frozen task's last word has arrived, if it had said it.
SETTLED = 3


def _freeze(stack: Stack, run: str) -> list[dict[str, object]]:
    """Make `LONG` running tasks of a run last for ever; return which and their tries."""
    query = (
        "SELECT map_index, pid, try_number FROM task_instance "
        "WHERE run_id = %s AND state = 'running' AND task_id = 'rescore' AND pid IS NOT NULL"
    )
    frozen: dict[object, psutil.Process] = {}
    settled: list[float] = []

    def enough() -> bool:
        for task in stack.metadata(query, run):
            if task["map_index"] not in frozen and len(frozen) < LONG:
                with suppress(psutil.NoSuchProcess):
                    process = psutil.Process(task["pid"])
                    process.suspend()
                    frozen[task["map_index"]] = process
        # some were just about to end: their process is frozen, their state is saved
        running = {task["map_index"] for task in stack.metadata(query, run)}
        for index in set(frozen) - running:
            with suppress(psutil.NoSuchProcess):
                frozen.pop(index).resume()
        if len(frozen) < LONG:
            settled.clear()
        settled.append(time.monotonic())
        return settled[-1] - settled[0] > SETTLED

    wait_until(enough, "tasks to run", 120)
    return [task for task in stack.metadata(query, run) if task["map_index"] in frozen]


def test_down_leaves_nothing_and_up_goes_on(decider: Stack) -> None:
    listed = decider.json_lines("decisions")
    assert listed
    run = decider.trigger("rescore_portfolio", count=BATCH)
    interrupted = _freeze(decider, run)
    late = decider.sign_up(101, 102, 103)
    running = decider.processes()
    assert len(running) > 20

    said = decider.down()
    assert "The stack is down." in said
    decider.await_end(running)
    down = decider.json("status", code=1)
    assert {part["state"] for part in down["parts"]} == {"stopped"}
    assert "The stack is down." in decider.run("down").stdout, "a second down is fine"
    assert "airlane up" in decider.run("signup", "7", code=1).stderr

    assert "The stack is up." in decider.up()
    decider.await_health()
    # nothing that was in is lost, nothing is done twice
    decider.decided(late)
    decider.expect_once(late)
    assert decider.json_lines("decisions")[: len(listed)] == listed
    decider.await_run("rescore_portfolio", run, 300)
    tasks = decider.tasks(run)
    assert len(tasks) == BATCH + 2
    assert {task["state"] for task in tasks} == {"success"}
    # by its index: Airflow gives a task another id for each try
    tries = {task["map_index"]: task["try_number"] for task in tasks}
    for before in interrupted:
        assert tries[before["map_index"]] > before["try_number"], "it did not run again"


def test_two_commands_at_once_do_not_meet(decider: Stack) -> None:
    with locked(decider.instance):
        for command in ("up", "down", "reset --yes"):
            assert "another airlane" in decider.run(*command.split(), code=2).stderr
    decider.await_health()


def test_down_ends_what_a_killed_supervisor_left(stack: Stack) -> None:
    pid = Supervisor(stack.instance).pid()
    assert pid
    running = stack.processes()
    supervisor = psutil.Process(pid)
    supervisor.kill()
    psutil.wait_procs([supervisor], timeout=20)
    left = [process for process in running if process.is_running()]
    assert len(left) > 20, "the parts were to outlive the supervisor"
    stack.run("status", code=1)

    assert "The stack is down." in stack.down()
    stack.await_end(running)


def test_reset_deletes_the_instance_after_a_question(session_stack: Stack) -> None:
    session_stack.run("reset", code=1, stdin="n\n")
    assert session_stack.instance.state_file.exists()
    said = session_stack.run("reset", "--yes", deadline=DOWN_DEADLINE).stdout
    assert f"Deleted {session_stack.folder}" in said
    assert not session_stack.folder.exists()
    assert session_stack.processes() == []
    # whoever goes on starts anew
    session_stack.is_up = session_stack.has_model = False
