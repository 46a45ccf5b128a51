"""What hosts are told, asked of the hosts: limits, settings, rights, the release of a run."""

from __future__ import annotations

import json
import shlex

import pytest

from tests.hosts.fleet import Fleet
from tests.hosts.inventory import CONTROL
from tests.hosts.machines import await_true
from tests.hosts.signups import SignUps

pytestmark = pytest.mark.short


def _shown(fleet: Fleet, host: str, unit: str, *names: str) -> dict[str, str]:
    words = shlex.join(["systemctl", "show", unit, *(f"--property={name}" for name in names)])
    lines = fleet.machines.shell(host, words).splitlines()
    return dict(line.split("=", 1) for line in lines)


def test_classes_have_the_weights_and_bounds_of_the_queue_model(fleet: Fleet) -> None:
    asked = "AIRLANE_QUEUES=/etc/airlane/queues.yaml airlane fleet facts --json"
    classes = json.loads(fleet.machines.shell("h2", asked))["classes"]
    names = ("CPUWeight", "IOWeight", "TimeoutStopUSec", "MemoryHigh", "OOMPolicy")
    shown = {
        name: _shown(fleet, "h2", f"airlane-worker@{name}", *names)
        for name in ("onboarding", "batch")
    }
    for name, found in shown.items():
        assert int(found["CPUWeight"]) == classes[name]["cpu_weight"]
        assert int(found["IOWeight"]) == classes[name]["io_weight"]
        assert found["OOMPolicy"] == "continue"
    assert shown["onboarding"]["MemoryHigh"] == "infinity"
    assert int(shown["batch"]["MemoryHigh"]) > 0
    assert int(shown["onboarding"]["CPUWeight"]) > int(shown["batch"]["CPUWeight"])
    # a stop waits for the longest task
    assert shown["batch"]["TimeoutStopUSec"] != shown["onboarding"]["TimeoutStopUSec"]


def test_postgres_has_the_settings_of_its_role(fleet: Fleet) -> None:
    rows = fleet.rows("app", "SELECT name, setting FROM pg_settings")
    found = {row["name"]: row["setting"] for row in rows}
    wanted = {
        "ssl": "on",
        "jit": "off",
        "synchronous_commit": "on",
        "wal_compression": "pglz",
        "checkpoint_timeout": "900",
        "autovacuum_vacuum_scale_factor": "0.05",
    }
    assert {name: found[name] for name in wanted} == wanted
    assert "pg_stat_statements" in found["shared_preload_libraries"]
    counted = "SELECT count(*) AS n FROM monitoring.pg_stat_statements"
    assert fleet.rows("airflow", counted)[0]["n"] > 0


def test_what_runs_beside_the_parts_is_on(fleet: Fleet) -> None:
    timer = _shown(fleet, CONTROL, "airlane-backup.timer", "ActiveState", "UnitFileState")
    assert timer == {"ActiveState": "active", "UnitFileState": "enabled"}
    there = (
        "cat /etc/sysctl.d/60-airlane-redis.conf /etc/systemd/journald.conf.d/airlane.conf && "
        "sudo logrotate --debug /etc/logrotate.d/airlane 2>&1"
    )
    said = fleet.machines.shell(CONTROL, there)
    assert "vm.overcommit_memory = 1" in said
    assert "SystemMaxUse" in said
    assert "error" not in said


@pytest.mark.parametrize("host", [CONTROL, "h2"])
def test_no_secret_is_in_a_file_that_everybody_reads(fleet: Fleet, host: str) -> None:
    patterns = [word for value in fleet.secrets.values() for word in ("-e", value.strip())]
    search = shlex.join(["sudo", "grep", "-lF", *patterns])
    found = fleet.machines.shell(
        host,
        "sudo find /etc /opt/airlane/releases /run /var/lib /var/log -xdev -type f -perm /o=r "
        f"-size -1M -print0 | xargs -0 -r {search}; true",
        deadline=300,
    )
    assert found == ""


def test_a_run_shows_its_release(fleet: Fleet, signups: SignUps) -> None:
    moment = signups.mark()
    await_true(lambda: bool(signups.since(moment)), "a sign-up", 60)
    event = signups.check(moment)[0]
    with fleet.airflow() as client:
        run = client.get(f"/api/v2/dags/onboarding/dagRuns/signup-{event}").raise_for_status()
    releases = {version["bundle_version"] for version in run.json()["dag_versions"]}
    assert releases == {worker["release"] for worker in fleet.workers().values()}


def test_a_worker_writes_its_logs_where_those_of_other_hosts_are_kept(fleet: Fleet) -> None:
    folder = "'/var/log/airlane/tasks/dag_id=airlane_canary'"
    # as it is when the first log of a DAG was shipped here
    fleet.machines.shell(CONTROL, f"sudo mv {folder} /var/log/airlane/tasks/kept")
    fleet.machines.shell(CONTROL, f"sudo -u airlane-logs mkdir -m 2770 {folder}")
    try:
        fleet.airlane("canary", f"control@{CONTROL}")
        listed = fleet.machines.shell(CONTROL, f"sudo -u airlane-worker ls {folder}", check=False)
        assert listed == ""
    finally:
        fleet.machines.shell(
            CONTROL, f"sudo rm -r {folder} && sudo mv /var/log/airlane/tasks/kept {folder}"
        )
