"""Hosts that are lost, cut off, rebooted: they come back by themselves, and nothing is lost."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.hosts.fleet import CONTROL, Fleet
from tests.hosts.machines import await_true
from tests.hosts.signups import SignUps

#: Seconds for a loss to be noticed and its tasks to run again: 24 without a heartbeat, 4 between
#: looks, and the retries' delay; twice that on a loaded machine.
NOTICED_WITHIN = 90
#: Seconds for a host to boot and take work.
BACK_WITHIN = 180


def _tasks_on(fleet: Fleet, run_id: str, host: str, state: str = "running") -> int:
    return sum(t["hostname"] == host and t["state"] == state for t in fleet.tasks(run_id))


def _two_of_each(fleet: Fleet) -> None:
    """Have h2 and h3 serve both classes, so that one of them may be lost."""
    for name in ("onboarding", "batch"):
        fleet.play("scale", **{"class": name, "count": 2})


def _load(fleet: Fleet, seconds: float = 25, count: int = 40) -> str:
    run = fleet.trigger("fleet_sleepers", count=count, seconds=seconds)
    await_true(lambda: _tasks_on(fleet, run, "h3") >= 3, "work on h3", 120)
    return run


def _await_work(fleet: Fleet, host: str, what: str) -> None:
    """Expect a host to be back on duty and to run a new task."""

    def is_back() -> bool:
        live = [worker for worker in fleet.workers().values() if worker["host"] == host]
        return len(live) == 2 and all(worker["queues"] for worker in live)

    fleet.times.append((f"{what}: back", await_true(is_back, f"{host} to be back", BACK_WITHIN)))
    for name in ("onboarding", "batch"):
        fleet.airlane("canary", f"{name}@{host}")


def _lose_and_return(
    fleet: Fleet, signups: SignUps, what: str, lose: Callable[[], None], back: Callable[[], None]
) -> None:
    _two_of_each(fleet)
    run = _load(fleet)
    moment = signups.mark()
    lose()
    noticed = await_true(
        lambda: _tasks_on(fleet, run, "h3") == 0, f"the loss to be noticed ({what})", NOTICED_WITHIN
    )
    fleet.times.append((f"{what}: noticed", noticed))
    time.sleep(20)
    # one worker of each class is left: all is decided meanwhile
    signups.check(moment)
    back()
    _await_work(fleet, "h3", what)
    fleet.await_run(run, 900)


def test_a_host_that_is_lost(usual: Fleet, signups: SignUps) -> None:
    machines = usual.machines
    _lose_and_return(
        usual, signups, "crash", lambda: machines.crash("h3"), lambda: machines.start("h3")
    )


def test_a_host_that_is_cut_off(usual: Fleet, signups: SignUps) -> None:
    machines = usual.machines
    _lose_and_return(usual, signups, "cut", lambda: machines.cut("h3"), lambda: machines.heal("h3"))


def test_a_host_that_reboots_finishes_its_tasks_first(usual: Fleet, signups: SignUps) -> None:
    _two_of_each(usual)
    since = usual.now()
    run = _load(usual)
    usual.machines.reboot("h3")
    _await_work(usual, "h3", "reboot")
    usual.await_run(run, 900)
    assert usual.interrupted(since) == [], "an orderly reboot waits for tasks"


def test_the_control_host_comes_back_by_itself(usual: Fleet, signups: SignUps) -> None:
    """Everything that decides is on it: events wait, and all are decided afterwards."""
    run = usual.trigger("fleet_sleepers", count=12, seconds=5)
    usual.machines.crash(CONTROL)
    time.sleep(10)
    usual.machines.start(CONTROL)
    await_true(usual.answers, "the control host to be back", BACK_WITHIN * 2)
    usual.await_run(run, 600)


def test_a_new_machine_in_the_place_of_a_lost_one(usual: Fleet, signups: SignUps) -> None:
    _two_of_each(usual)
    usual.machines.wipe("h3")
    played = usual.play("upgrade", code=None, deadline=300)
    assert played.code, "a host that is gone must be told"
    played.expect_said("Nothing was changed.", "these do not: h3")
    usual.machines.start("h3")
    usual.play("site")
    _await_work(usual, "h3", "replaced")


def test_the_logs_of_a_host_that_is_gone_can_be_read(usual: Fleet, signups: SignUps) -> None:
    usual.play("scale", **{"class": "batch", "count": 2})
    run = usual.trigger("fleet_sleepers", count=12, seconds=2)
    usual.await_run(run)
    task = next(t for t in usual.tasks(run) if t["hostname"] == "h3" and t["task_id"] == "sleep")
    usual.machines.crash("h3")
    try:
        with usual.airflow() as client:
            path = f"/api/v2/dags/fleet_sleepers/dagRuns/{run}/taskInstances/sleep/logs/1"
            answer = client.get(path, params={"map_index": task["map_index"]})
            assert "Task instance" in answer.text or "sleep" in answer.text, answer.text[:500]
            assert "Could not read" not in answer.text, answer.text[:1000]
    finally:
        usual.machines.start("h3")
        await_true(lambda: "batch@h3" in usual.workers(), "h3 to be back", BACK_WITHIN)
