"""Hosts that are lost, cut off, rebooted: they come back by themselves, and nothing is lost."""

from __future__ import annotations

import time
from collections.abc import Callable

import httpx

from tests.hosts.fleet import Fleet
from tests.hosts.inventory import CONTROL
from tests.hosts.machines import await_true
from tests.hosts.network import inside
from tests.hosts.signups import SignUps

#: Seconds for a loss to be noticed and its tasks to run again: 24 without a heartbeat, 4 between
#: looks, and the retries' delay; twice that on a loaded machine.
NOTICED_WITHIN = 90
#: Seconds for a host to boot and take work.
BACK_WITHIN = 180


def _two_of_each(fleet: Fleet) -> None:
    """Have h2 and h3 serve both classes, so that one of them may be lost."""
    fleet.have(onboarding=2, batch=2)


def _load(fleet: Fleet, seconds: float = 25, count: int = 40) -> str:
    run = fleet.trigger("fleet_sleepers", count=count, seconds=seconds)
    await_true(lambda: fleet.sleeping(run, "h3") >= 3, "work on h3", 120)
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
        lambda: fleet.sleeping(run, "h3") == 0, f"the loss to be noticed ({what})", NOTICED_WITHIN
    )
    fleet.times.append((f"{what}: noticed", noticed))
    time.sleep(20)
    # one worker of each class is left: all is decided meanwhile
    signups.check(moment)
    back()
    _await_work(fleet, "h3", what)
    fleet.await_run(run, 900)


def test_a_host_that_is_lost(fleet: Fleet, signups: SignUps) -> None:
    machines = fleet.machines
    _lose_and_return(
        fleet, signups, "crash", lambda: machines.crash("h3"), lambda: machines.start("h3")
    )


def test_a_host_that_is_cut_off(fleet: Fleet, signups: SignUps) -> None:
    machines = fleet.machines
    _lose_and_return(fleet, signups, "cut", lambda: machines.cut("h3"), lambda: machines.heal("h3"))


def test_a_host_that_reboots_finishes_its_tasks_first(fleet: Fleet, signups: SignUps) -> None:
    _two_of_each(fleet)
    since = fleet.now()
    run = _load(fleet)
    fleet.machines.reboot("h3")
    _await_work(fleet, "h3", "reboot")
    fleet.await_run(run, 900)
    assert fleet.interrupted(since) == [], "an orderly reboot waits for tasks"


def test_the_control_host_comes_back_by_itself(fleet: Fleet, signups: SignUps) -> None:
    """Everything that decides is on it: events wait, and all are decided afterwards."""
    run = fleet.trigger("fleet_sleepers", count=12, seconds=5)
    fleet.machines.crash(CONTROL)
    time.sleep(10)
    fleet.machines.start(CONTROL)
    await_true(fleet.answers, "the control host to be back", BACK_WITHIN * 2)
    fleet.await_run(run, 600)


def test_parts_that_hang_or_die_are_restarted(usual: Fleet, signups: SignUps) -> None:
    """By the watchdog, or by systemd; each is sent what a fault of its own would do to it."""
    for host, unit, signal in (
        (CONTROL, "airlane-scheduler", "STOP"),
        ("h2", "airlane-worker@batch", "STOP"),
        (CONTROL, "airlane-relay", "KILL"),
    ):
        before = _restarts(usual, host, unit)
        usual.machines.shell(
            host, f"sudo systemctl kill --kill-whom=main --signal={signal} {unit}.service"
        )
        spent = await_true(
            lambda host=host, unit=unit, before=before: (
                _restarts(usual, host, unit) > before and _is_up(usual, host, unit)
            ),
            f"{unit} to be restarted",
            BACK_WITHIN * 2,
        )
        usual.times.append((f"{unit} after SIG{signal}: up again", spent))
    usual.airlane("canary", "batch@h2")


def test_running_tasks_outlive_an_api_server(usual: Fleet, signups: SignUps) -> None:
    """Nginx gives the calls of tasks to the other one, for as long as it takes."""
    run = usual.trigger("fleet_sleepers", count=6, seconds=90)
    await_true(lambda: usual.sleeping(run, "h2") == 6, "six tasks on h2", 120)
    for unit, port in (("airlane-batch-api", 8444), ("airlane-api-server", 443)):
        usual.machines.shell(CONTROL, f"sudo systemctl stop {unit}")
        try:
            since = usual.now()
            await_true(lambda since=since: _heartbeats(usual, run, since) == 6, "heartbeats", 60)
            url = f"https://{usual.machines.address(CONTROL)}:{port}/execution/health"
            with inside("h2"):
                answer = httpx.get(url, verify=str(usual.ca_file()), trust_env=False)
            assert answer.status_code == httpx.codes.OK, answer.text
        finally:
            usual.machines.shell(CONTROL, f"sudo systemctl start {unit}")
    usual.await_run(run)
    assert {task["try_number"] for task in usual.tasks(run)} == {1}


def _heartbeats(fleet: Fleet, run_id: str, since: str) -> int:
    """Return how many running tasks of a run have given a sign of life since a moment."""
    rows = fleet.rows(
        "airflow", "SELECT run_id, last_heartbeat_at FROM task_instance WHERE state = 'running'"
    )
    return sum(row["run_id"] == run_id and str(row["last_heartbeat_at"]) > since for row in rows)


def _restarts(fleet: Fleet, host: str, unit: str) -> int:
    return int(fleet.machines.shell(host, f"systemctl show -p NRestarts --value {unit}"))


def _is_up(fleet: Fleet, host: str, unit: str) -> bool:
    return fleet.machines.shell(host, f"systemctl is-active {unit} || true").strip() == "active"


def test_a_new_machine_in_the_place_of_a_lost_one(fleet: Fleet, signups: SignUps) -> None:
    _two_of_each(fleet)
    fleet.machines.wipe("h3")
    played = fleet.play("upgrade", code=None, deadline=300)
    assert played.code, "a host that is gone must be told"
    played.expect_said("Nothing was changed.", "these do not: h3")
    fleet.machines.start("h3")
    fleet.play("site")
    _await_work(fleet, "h3", "replaced")


def test_the_logs_of_a_host_that_is_gone_can_be_read(fleet: Fleet, signups: SignUps) -> None:
    _two_of_each(fleet)
    run = fleet.trigger("fleet_sleepers", count=12, seconds=2)
    fleet.await_run(run)
    task = next(t for t in fleet.tasks(run) if t["hostname"] == "h3" and t["task_id"] == "sleep")
    fleet.await_kept(run, task["map_index"], "h3")
    fleet.machines.crash("h3")
    try:
        assert "slept 2 s" in fleet.log(run, task["map_index"])
    finally:
        fleet.machines.start("h3")
        await_true(lambda: "batch@h3" in fleet.workers(), "h3 to be back", BACK_WITHIN)
