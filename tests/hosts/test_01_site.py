"""From bare Debian to the first decision, and again without a change."""

from __future__ import annotations

import time

import pytest

from tests.hosts.conftest import need_fleet
from tests.hosts.fleet import Fleet
from tests.hosts.inventory import CONTROL
from tests.hosts.machines import await_true
from tests.hosts.signups import SignUps


def test_a_check_of_bare_hosts_says_what_would_be_done(session_fleet: Fleet) -> None:
    if session_fleet.is_made:
        pytest.skip("the hosts are no longer bare")
    session_fleet.play("site", "--check", "--diff")
    assert "airlane" not in session_fleet.machines.shell("h2", "ls /opt /etc")


@pytest.mark.short
def test_site_leads_from_bare_hosts_to_the_first_decision(
    session_fleet: Fleet, request: pytest.FixtureRequest
) -> None:
    # wheels are made once per lock file, before the clock runs
    session_fleet.play("site", "--tags", "always,release_preflight,release_build", code=None)
    begin = time.monotonic()
    need_fleet(session_fleet)
    signups: SignUps = request.getfixturevalue("session_signups")
    events = signups.check(deadline=120)
    while not events:
        time.sleep(1)
        events = signups.check(deadline=120)
    spent = time.monotonic() - begin
    # the target is 8 minutes on two cores that nobody else uses
    session_fleet.times.append(("bare hosts to first decision", spent))


@pytest.mark.short
def test_a_second_run_changes_nothing(fleet: Fleet, signups: SignUps) -> None:
    played = fleet.play("site")
    assert played.changed() == {}


def test_a_check_of_a_made_fleet_is_clean(fleet: Fleet, signups: SignUps) -> None:
    played = fleet.play("site", "--check", "--diff")
    assert played.changed() == {}
    leaked = [name for name, value in fleet.secrets.items() if value in played.output]
    assert not leaked, f"secrets in the output of --diff: {leaked}"


@pytest.mark.short
def test_every_host_runs_the_same_release(fleet: Fleet, signups: SignUps) -> None:
    workers = fleet.workers()
    assert set(workers) == {"onboarding@h2", "batch@h2", f"control@{CONTROL}"}
    assert len({worker["release"] for worker in workers.values()}) == 1


@pytest.mark.short
def test_a_host_is_called_as_in_the_inventory(fleet: Fleet, signups: SignUps) -> None:
    assert fleet.machines.shell("h2", "uname -n && hostnamectl --static").split() == ["h2", "h2"]
    # and looks it up by itself, as sudo does
    assert "h2" in fleet.machines.shell("h2", "getent hosts h2")


@pytest.mark.short
def test_sign_ups_are_refused_before_the_memory_is_used_up(fleet: Fleet, signups: SignUps) -> None:
    file = "/var/lib/airlane/redis-events/server.conf"
    said = fleet.machines.shell(CONTROL, f"sudo sed -n 's/^maxmemory //p' {file}")
    assert int(said) > 0


@pytest.mark.short
def test_secrets_are_where_they_are_needed_only(fleet: Fleet, signups: SignUps) -> None:
    machines = fleet.machines
    found = machines.shell("h2", "sudo ls /etc/airlane/secrets").split()
    assert set(found) <= {"worker", "logs"}
    readable = "sudo find /etc/airlane/secrets /var/lib/airlane -type f -perm /o=r -path '*secret*'"
    assert machines.shell("h2", readable) == ""
    for name in ("airflow", "fernet_key", "jwt_secret", "events_operator"):
        where = "/etc /var/lib/airlane /run 2>/dev/null || true"
        words = f"sudo grep -rlF -- {fleet.secrets[name]} {where}"
        assert machines.shell("h2", words) == "", f"{name} on a worker host"


@pytest.mark.short
def test_the_log_of_a_task_is_read_while_it_runs_and_afterwards(fleet: Fleet) -> None:
    run = fleet.trigger("fleet_sleepers", count=1, seconds=20)
    await_true(lambda: fleet.sleeping(run, "h2") == 1, "a running task", 120)
    await_true(lambda: "sleeps for 20 s" in fleet.log(run, 0), "the log of a running task", 60)
    fleet.await_run(run)
    fleet.await_kept(run, 0, "h2")
    assert "slept 20 s" in fleet.log(run, 0)


@pytest.mark.short
def test_a_canary_goes_through_the_worker_that_it_names(fleet: Fleet, signups: SignUps) -> None:
    for node in fleet.workers():
        assert f"{node} answered" in fleet.airlane("canary", node)
    unknown = fleet.machines.run(
        *("ssh", "1", "sudo -u airlane /opt/airlane/current/bin/airlane canary onboarding@h9"),
        *("--timeout", "15"),
        check=False,
    )
    assert unknown.returncode == 1
    assert "no worker took it" in unknown.stderr
