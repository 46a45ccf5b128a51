"""The end of a fleet. The last test: it takes nothing of the others' fixtures but the hosts."""

from __future__ import annotations

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
    # what is left is enough to begin again
    session_fleet.play("site")
    assert session_fleet.workers()
