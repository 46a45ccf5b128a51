"""kill -9 of what works on sign-ups, in the middle of them: each is decided once all the same."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from uuid import UUID

import psutil

from tests.acceptance.stack import Stack
from tests.servers import wait_until

#: Seconds. The loss of a worker is noticed within 30 s; a loaded machine gets twice that.
NOTICED_WITHIN = 60
_HIT_DEADLINE = 120
_BACK_DEADLINE = 180

#: Airflow's title of the process that runs a task; the id is the task instance's.
_TASK_TITLE = "airflow worker -- "


def _urgent_tasks(processes: list[psutil.Process]) -> Iterator[tuple[psutil.Process, UUID]]:
    """Yield processes that run a task, and which."""
    for process in processes:
        try:
            title = process.cmdline()[0]
        except (psutil.Error, IndexError):
            continue
        if title.startswith(_TASK_TITLE):
            yield process, UUID(title.removeprefix(_TASK_TITLE).split()[0])


def _signal(process: psutil.Process, send: Callable[[psutil.Process], None]) -> None:
    with suppress(psutil.NoSuchProcess):
        send(process)


def _kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        _signal(process, psutil.Process.kill)
    psutil.wait_procs(processes, timeout=20)


@contextmanager
def _sign_ups(stack: Stack) -> Iterator[list[str]]:
    """Expect that each sign-up of the block is decided exactly once, and by the packs."""
    events: list[str] = []
    yield events
    decisions = stack.decided(events)
    stack.await_intake()
    stack.expect_once(events)
    assert "error" not in {decision["decision"] for decision in decisions.values()}
    for event in events:
        stack.await_run("onboarding", f"signup-{event}", 120)


def _interrupted(stack: Stack, events: list[str]) -> list[dict[str, Any]]:
    """Return the tries of sign-ups' tasks that ended without success."""
    runs = [f"signup-{event}" for event in events]
    return stack.metadata(
        "SELECT task_instance_id, try_number, end_date FROM task_instance_history "
        "WHERE run_id = ANY(%s)",
        runs,
    )


def _await_restart(stack: Stack, part: str, restarts: int) -> None:
    def is_back() -> bool:
        found = stack.part(part)
        return found["state"] == "running" and found["restarts"] > restarts

    wait_until(is_back, f"{part} to come back", _BACK_DEADLINE)
    stack.await_health()


def test_a_killed_task_runs_again(decider: Stack) -> None:
    workers = [decider.tree("worker-onboarding")[0], decider.tree("worker-batch")[0]]
    before = decider.part("worker-onboarding")
    with _sign_ups(decider) as events:
        end = time.monotonic() + _HIT_DEADLINE
        victims: set[tuple[str, str]] = set()
        # Some kills come too late, when the task has just said that it is done.
        while len(_interrupted(decider, events)) < 3:
            assert time.monotonic() < end, f"no task was interrupted: {len(victims)} kills"
            if len(events) < 5 or len(victims) > 5 * len(events):
                events.extend(decider.sign_up(31 + len(events)))
            children = [child for worker in workers for child in worker.children(recursive=True)]
            for process, task in _urgent_tasks(children):
                # once each: a task has few retries, and another id for each try
                names = decider.metadata(
                    "SELECT run_id, task_id FROM task_instance WHERE id = %s", task
                )
                victim = tuple(names[0].values()) if names else None
                if victim and victim not in victims:
                    victims.add(victim)
                    _kill([process])
                    break
    # the worker itself was not harmed
    after = decider.part("worker-onboarding")
    assert (after["pid"], after["restarts"]) == (before["pid"], before["restarts"])


def test_a_killed_worker_is_replaced_and_its_tasks_run_again(decider: Stack) -> None:
    part = "worker-onboarding"
    restarts = decider.part(part)["restarts"]
    main = psutil.Process(decider.part(part)["pid"])
    query = "SELECT id FROM task_instance WHERE id = ANY(%s) AND state = 'running'"
    with _sign_ups(decider) as events:
        held: list[UUID] = []

        def is_at_work() -> bool:
            """Stop the worker's processes, and look whether they are in the middle of tasks."""
            main.suspend()
            children = main.children(recursive=True)
            for child in children:
                _signal(child, psutil.Process.suspend)
            tasks = [task for _, task in _urgent_tasks(children)]
            held[:] = [row["id"] for row in decider.metadata(query, tasks)]
            if len(held) >= 3:
                return True
            for child in (*children, main):
                _signal(child, psutil.Process.resume)
            if not decider.states(*(f"signup-{event}" for event in events))["scheduled"]:
                events.extend(decider.sign_up(51 + len(events)))
            return False

        events.extend(decider.sign_up(*range(41, 51)))
        wait_until(is_at_work, "the worker to be at work", _HIT_DEADLINE)
        _kill([main, *main.children(recursive=True)])
        query += " AND try_number = 1"
        wait_until(
            lambda: not decider.metadata(query, held),
            "the loss of the worker to be noticed",
            NOTICED_WITHIN,
        )
        _await_restart(decider, part, restarts)
    assert _interrupted(decider, events), "no task was interrupted by the worker's end"


def test_a_killed_triggerer_loses_no_event(decider: Stack) -> None:
    restarts = decider.part("triggerer")["restarts"]
    processes = decider.tree("triggerer")
    api_server = decider.tree("api-server")
    with _sign_ups(decider) as events:
        # Runs are asked for and not answered: the moment at which an event is easily lost.
        for process in api_server:
            process.suspend()
        try:
            events.extend(decider.sign_up(*range(61, 69)))
            wait_until(lambda: decider.group()["pending"] == len(events), "events in flight", 60)
            _kill(processes)
            events.extend(decider.sign_up(*range(69, 73)))
            assert decider.group()["lag"] == 4, "what comes now waits in the stream"
        finally:
            for process in api_server:
                process.resume()
        _await_restart(decider, "triggerer", restarts)


def test_a_killed_relay_publishes_each_decision_once(decider: Stack) -> None:
    restarts = decider.part("relay")["restarts"]
    processes = decider.tree("relay")
    with _sign_ups(decider) as events:
        events.extend(decider.sign_up(*range(81, 89)))
        wait_until(
            lambda: any(rows for _, rows, _ in decider.counts(events).values()), "a decision", 120
        )
        _kill(processes)
        _await_restart(decider, "relay", restarts)


def test_a_killed_scheduler_goes_on(decider: Stack) -> None:
    restarts = decider.part("scheduler")["restarts"]
    processes = decider.tree("scheduler")
    with _sign_ups(decider) as events:
        events.extend(decider.sign_up(*range(91, 99)))
        runs = [f"signup-{event}" for event in events]
        wait_until(lambda: decider.states(*runs)["success"] > 0, "a task to end", 120)
        _kill(processes)
        _await_restart(decider, "scheduler", restarts)


def test_batch_work_goes_on_when_its_api_server_is_killed(decider: Stack) -> None:
    restarts = decider.part("batch-api")["restarts"]
    processes = decider.tree("batch-api")
    count = 60
    flood = decider.trigger("rescore_portfolio", count=count)
    wait_until(lambda: decider.states(flood)["success"] > 2, "batch tasks to run", 120)
    assert decider.states(flood)["success"] < count, "was it a flood?"
    with _sign_ups(decider) as events:
        _kill(processes)
        events.extend(decider.sign_up(*range(101, 105)))
    _await_restart(decider, "batch-api", restarts)
    decider.await_run("rescore_portfolio", flood, 300)
    assert {task["state"] for task in decider.tasks(flood)} == {"success"}


def test_the_stack_is_well_again(decider: Stack) -> None:
    decider.await_health()
    decider.await_intake()
