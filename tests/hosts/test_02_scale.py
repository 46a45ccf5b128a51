"""More and fewer hosts, while sign-ups flow and batch work runs."""

from __future__ import annotations

import re
import time

import pytest
import yaml

from tests.hosts.fleet import Fleet
from tests.hosts.load import load
from tests.hosts.machines import await_true
from tests.hosts.signups import SignUps

#: Seconds from the end of the play to the first task on each new host.
WORKS_WITHIN = 60


def _hosts_with_work(fleet: Fleet, run_id: str) -> set[str]:
    return {task["hostname"] for task in fleet.tasks(run_id) if task["hostname"]}


@pytest.mark.short
def test_a_check_says_what_it_would_do(usual: Fleet, signups: SignUps) -> None:
    before = usual.workers()
    played = usual.play("scale", "--check", **{"class": "batch", "count": 3})
    played.expect_said("batch: 1 hosts (h2), wanted 3.", "To add: h3, h4.")
    assert played.changed() == {}
    assert usual.workers().keys() == before.keys()


def test_new_hosts_take_work_and_pools_follow(usual: Fleet, signups: SignUps) -> None:
    before = usual.slots()
    usual.trigger("fleet_sleepers", count=60, seconds=20)
    usual.play("scale", **{"class": "batch", "count": 3})
    done = time.monotonic()
    # the play may take longer than what waited before it
    run = usual.trigger("fleet_sleepers", count=60, seconds=20)
    await_true(
        lambda: {"h3", "h4"} <= _hosts_with_work(usual, run), "work on h3 and h4", WORKS_WITHIN
    )
    usual.times.append(("scale out to work on the new hosts", time.monotonic() - done))
    await_true(lambda: usual.slots()["batch"] == before["batch"] + 12, "12 more slots", 30)
    # what is lent follows too
    assert usual.slots()["onboarding"] == before["onboarding"] + 12
    usual.await_run(run, 900)
    assert usual.play("scale", **{"class": "batch", "count": 3}).changed() == {}


def test_hosts_that_leave_finish_their_tasks(fleet: Fleet, signups: SignUps) -> None:
    fleet.have(batch=3, onboarding=3)
    since = fleet.now()
    with load(fleet, count=24, seconds=60) as work:
        await_true(
            lambda: any({"h3", "h4"} <= _hosts_with_work(fleet, run) for run in list(work.runs)),
            "work on all hosts",
            240,
        )
        played = fleet.play("scale", **{"class": "batch", "count": 1})
        fleet.play("scale", **{"class": "onboarding", "count": 1})
    for host in ("h3", "h4"):
        told = rf"{host}\s+drains\s[^:]*:\s+tasks\s+that\s+run\s+[1-9]"
        assert re.search(told, played.output), f"{host} had nothing to lose"
    assert {w["host"] for w in fleet.workers().values()} == {"h1", "h2"}
    for host in ("h3", "h4"):
        enabled = fleet.machines.shell(host, "systemctl is-enabled 'airlane-worker@batch' || true")
        assert enabled.strip() == "disabled"
    tries = {task["try_number"] for run in work.runs for task in fleet.tasks(run)}
    assert tries == {1}, "a task ran twice"
    assert fleet.interrupted(since) == []
    await_true(lambda: fleet.slots()["batch"] == 6, "pools to follow", 30)


def test_new_hosts_wait_for_no_drain_of_their_class(fleet: Fleet, signups: SignUps) -> None:
    fleet.have(onboarding=1, batch=2)
    long = fleet.trigger("fleet_sleepers", count=12, seconds=400)
    await_true(lambda: "h3" in _hosts_with_work(fleet, long), "work on h3", 120)
    leaves = {"class": "batch", "count": 2, "hosts_out": "h3"}
    drain = fleet.begin_play("scale", way="in", ports="later", **leaves)
    await_true(lambda: not fleet.workers()["batch@h3"]["queues"], "h3 to be off duty", 180)

    fleet.play("scale", way="out", **leaves)
    short = fleet.trigger("fleet_sleepers", count=6, seconds=5)
    fleet.await_run(short)
    assert "h4" in _hosts_with_work(fleet, short)
    assert drain.poll() is None, "h4 came after the drain"

    said, _ = drain.communicate(timeout=900)
    assert drain.returncode == 0, said
    fleet.play("ports")
    members = yaml.safe_load((fleet.inventory / "members.yml").read_text())
    assert set(members["workers"]["children"]["workers_batch"]["hosts"]) == {"h2", "h4"}
    fleet.await_run(long, 600)
    assert {task["try_number"] for task in fleet.tasks(long)} == {1}, "a task ran twice"


def test_a_host_that_no_canary_comes_through_does_not_join(usual: Fleet, signups: SignUps) -> None:
    asked = {"class": "batch", "count": 2, "hosts_in": "h4"}
    # `airlane canary` refuses it: none comes through
    refused = usual.play("scale", code=2, **asked, airlane_canary_seconds=0.01)
    refused.expect_said("h4 did not join class batch", "is stopped again")
    unit = "systemctl is-active airlane-worker@batch; systemctl is-enabled airlane-worker@batch"
    said = usual.machines.shell("h4", unit, check=False)
    assert said.split() == ["inactive", "disabled"]
    usual.have(onboarding=1, batch=1)
    usual.play("scale", **asked)
    usual.airlane("canary", "batch@h4")
