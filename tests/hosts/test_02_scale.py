"""More and fewer hosts, while sign-ups flow and batch work runs."""

from __future__ import annotations

import time

import pytest
import yaml

from tests.hosts.fleet import Fleet
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
    run = usual.trigger("fleet_sleepers", count=60, seconds=20)
    usual.play("scale", **{"class": "batch", "count": 3})
    done = time.monotonic()
    await_true(
        lambda: {"h3", "h4"} <= _hosts_with_work(usual, run), "work on h3 and h4", WORKS_WITHIN
    )
    usual.times.append(("scale out to work on the new hosts", time.monotonic() - done))
    await_true(lambda: usual.slots()["batch"] == before["batch"] + 12, "12 more slots", 30)
    # what is lent follows too
    assert usual.slots()["onboarding"] == before["onboarding"] + 12
    usual.await_run(run, 900)
    assert usual.play("scale", **{"class": "batch", "count": 3}).changed() == {}


def test_hosts_that_leave_finish_their_tasks(usual: Fleet, signups: SignUps) -> None:
    usual.play("scale", **{"class": "batch", "count": 3})
    usual.play("scale", **{"class": "onboarding", "count": 3})
    since = usual.now()
    run = usual.trigger("fleet_sleepers", count=60, seconds=25)
    await_true(lambda: {"h3", "h4"} <= _hosts_with_work(usual, run), "work on all hosts", 120)
    for name in ("batch", "onboarding"):
        usual.play("scale", **{"class": name, "count": 1})
    assert {w["host"] for w in usual.workers().values()} == {"h1", "h2"}
    for host in ("h3", "h4"):
        enabled = usual.machines.shell(host, "systemctl is-enabled 'airlane-worker@batch' || true")
        assert enabled.strip() == "disabled"
    usual.await_run(run, 900)
    assert {task["try_number"] for task in usual.tasks(run)} == {1}, "a task ran twice"
    assert usual.interrupted(since) == []
    await_true(lambda: usual.slots()["batch"] == 6, "pools to follow", 30)


def test_new_hosts_wait_for_no_drain_of_their_class(usual: Fleet, signups: SignUps) -> None:
    usual.play("scale", **{"class": "batch", "count": 2})
    long = usual.trigger("fleet_sleepers", count=12, seconds=400)
    await_true(lambda: "h3" in _hosts_with_work(usual, long), "work on h3", 120)
    leaves = {"class": "batch", "count": 2, "hosts_out": "h3"}
    drain = usual.begin_play("scale", way="in", ports="later", **leaves)
    await_true(lambda: not usual.workers()["batch@h3"]["queues"], "h3 to be off duty", 180)

    usual.play("scale", way="out", **leaves)
    short = usual.trigger("fleet_sleepers", count=6, seconds=5)
    usual.await_run(short)
    assert "h4" in _hosts_with_work(usual, short)
    assert drain.poll() is None, "h4 came after the drain"

    said, _ = drain.communicate(timeout=900)
    assert drain.returncode == 0, said
    usual.play("ports")
    members = yaml.safe_load((usual.inventory / "members.yml").read_text())
    assert set(members["workers"]["children"]["workers_batch"]["hosts"]) == {"h2", "h4"}
    usual.await_run(long, 600)
    assert {task["try_number"] for task in usual.tasks(long)} == {1}, "a task ran twice"
