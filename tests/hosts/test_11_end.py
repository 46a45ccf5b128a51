"""The end of a fleet. The last test: it takes nothing of the others' fixtures but the hosts."""

from __future__ import annotations

import json

import yaml

from tests.hosts.conftest import need_fleet
from tests.hosts.fleet import Fleet
from tests.hosts.inventory import CONTROL
from tests.hosts.signups import SignUps

_LEFT = (
    "sudo systemctl list-units --all --plain --no-legend 'airlane-*'; "
    "sudo find /etc /opt /run /usr/local /var/lib /var/log -maxdepth 5 -name '*airlane*' "
    "-not -path '*/airlane-deploy*' -not -name 'stamp-*' -not -path '/var/lib/systemd/*'; "
    "sudo nft list tables | grep airlane; "
    # not the shell that asks
    "sudo pgrep -af '[/]opt/airlane/' || true"
)


def test_destroy_leaves_nothing_of_it(session_fleet: Fleet, session_signups: SignUps) -> None:
    need_fleet(session_fleet)
    session_signups.stop()
    # as its timer does each night
    session_fleet.machines.shell(CONTROL, "sudo systemctl start airlane-backup.service")
    session_fleet.play("destroy", destroy_sure="test")
    for host in (CONTROL, "h2"):
        assert session_fleet.machines.shell(host, _LEFT) == "", host
    # asked for by name only
    assert session_fleet.machines.shell(CONTROL, "sudo ls /var/backups/airlane").split() != []
    failed = "systemctl --failed --no-legend"
    assert session_fleet.machines.shell(CONTROL, failed) == ""
    databases = "cd / && sudo -u postgres psql -XAtqc 'SELECT datname FROM pg_database'"
    assert not {"airflow", "app"} & set(session_fleet.machines.shell(CONTROL, databases).split())
    _begin_again_spread(session_fleet)


def _begin_again_spread(fleet: Fleet) -> None:
    """What is left is enough to begin again; PostgreSQL and Redis on hosts of their own."""
    file = fleet.inventory / "hosts.yml"
    groups = yaml.safe_load(file.read_text())
    groups |= {"database": {"hosts": {"h3": None}}, "redis": {"hosts": {"h4": None}}}
    file.write_text(yaml.safe_dump(groups, sort_keys=False))
    fleet.database, fleet.is_made = "h3", False
    need_fleet(fleet)
    for node in fleet.workers():
        fleet.airlane("canary", node)
    decision = json.loads(fleet.airlane("signup", "17", "--wait", "--json"))
    assert decision["entity_id"] == "17"
    assert decision["decision"] != "error"
    redis = "systemctl list-units --plain --no-legend --state=running 'airlane-redis@*'"
    assert fleet.machines.shell("h4", redis) != ""
    assert fleet.machines.shell(CONTROL, redis) == ""
    assert fleet.rows("app", "SELECT count(*) AS n FROM ledger")[0]["n"] == 1
