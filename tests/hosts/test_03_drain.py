"""One host out of work and back, with tasks on it."""

from __future__ import annotations

import re

import pytest

from tests.hosts.fleet import Fleet
from tests.hosts.machines import await_true
from tests.hosts.signups import SignUps


def _fill(fleet: Fleet, seconds: float) -> str:
    """Have six tasks run on h2 and return their run."""
    run = fleet.trigger("fleet_sleepers", count=6, seconds=seconds)
    await_true(lambda: fleet.sleeping(run, "h2") == 6, "six tasks on h2", 120)
    return run


@pytest.mark.short
def test_the_host_must_be_named(usual: Fleet, signups: SignUps) -> None:
    for variables in ({}, {"host": "h9"}, {"host": "all"}, {"host": "workers"}):
        played = usual.play("drain", code=2, **variables)
        played.expect_said("Nothing was changed.", "Expected -e host= with one of h1, h2")
        assert played.changed() == {}


def test_six_running_tasks_finish(fleet: Fleet, signups: SignUps) -> None:
    fleet.have(onboarding=2, batch=1)
    since = fleet.now()
    # longer than a play takes on a loaded machine to get there
    run = _fill(fleet, 120)
    played = fleet.play("drain", host="h2")
    # how many, and the longest's age
    progress = r"h2\s+drains\s.*:\s+tasks\s+that\s+run\s+6,\s+the\s+longest\s+for\s+\d+\s+s"
    assert re.search(progress, played.output)
    assert "h2" not in {worker["host"] for worker in fleet.workers().values()}
    states = [(task["state"], task["try_number"]) for task in fleet.tasks(run)]
    assert states == [("success", 1)] * len(states)
    assert fleet.interrupted(since) == []
    # drained is drained, also after a reboot
    fleet.machines.reboot("h2")
    live = [w for w in fleet.workers().values() if w["host"] == "h2"]
    assert all(worker["queues"] == [] for worker in live)
    fleet.play("undrain", host="h2")
    assert all(w["queues"] for w in fleet.workers().values() if w["host"] == "h2")


def test_a_limit_that_is_over_is_said_and_the_host_works_on(fleet: Fleet, signups: SignUps) -> None:
    fleet.have(batch=1)
    run = _fill(fleet, 150)
    played = fleet.play("drain", code=2, host="h2", drain_limit=20)
    played.expect_said("its tasks to end within 20 s", "fleet_sleepers.sleep", "back at work")
    await_true(lambda: bool(fleet.workers()["batch@h2"]["queues"]), "h2 to take work again", 30)
    fleet.await_run(run)
    assert {task["try_number"] for task in fleet.tasks(run)} == {1}


def test_a_limit_that_is_over_leaves_the_host_off_duty_when_asked(
    fleet: Fleet, signups: SignUps
) -> None:
    fleet.have(onboarding=2, batch=1)
    run = _fill(fleet, 150)
    played = fleet.play("drain", code=2, host="h2", drain_limit=20, drain_over="leave")
    played.expect_said("stays off duty")
    fleet.await_run(run)
    assert fleet.workers()["batch@h2"]["queues"] == []
    fleet.play("undrain", host="h2")


def test_a_limit_that_is_over_cuts_when_asked(fleet: Fleet, signups: SignUps) -> None:
    fleet.have(onboarding=2, batch=2)
    run = fleet.trigger("fleet_sleepers", count=12, seconds=150)
    await_true(lambda: fleet.sleeping(run, "h2") == 6, "six tasks on h2", 120)
    fleet.play("drain", host="h2", drain_limit=15, drain_over="cut")
    # they run again elsewhere, by retry
    fleet.await_run(run, 600)
    assert max(task["try_number"] for task in fleet.tasks(run)) > 1
    fleet.play("undrain", host="h2")
