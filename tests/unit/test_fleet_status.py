"""What `airlane status` says on a host of a fleet."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.fleet import status
from deploy.fleet.host import Host
from tests.fleet_hosts import QUEUES, made, note_in, render, runs

#: Unit -> what systemd says of it; of all others, that they are not enabled and do not run.
UNITS = {
    "airlane-log-shipper.service": ("enabled", "active"),
    "airlane-log-server.service": ("enabled", "failed"),
    "airlane-worker@batch.service": ("enabled", "inactive"),
    # started by hand, on a host that has none
    "airlane-flower.service": ("disabled", "activating"),
}


def systemctl(words: list[str]) -> str:
    unit = next((word for word in words if word.endswith(".service")), "")
    file_state, active = UNITS.get(unit, ("disabled", "inactive"))
    entered = "@1772323200" if active == "active" else ""
    return (
        f"UnitFileState={file_state}\nActiveState={active}\nResult=success\nNRestarts=2\n"
        f"MainPID={7 if active == 'active' else 0}\nActiveEnterTimestamp={entered}\n"
    )


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    found = made(tmp_path)
    note_in(tmp_path, monkeypatch)
    render(found, "logs", QUEUES)
    return found


def test_the_parts_are_those_that_are_enabled_or_run_here(host: Host) -> None:
    runs(host, "log-shipper")
    found = status.status(host, systemctl)
    assert {part.name: part.state for part in found.parts} == {
        "worker-batch": "stopped",
        "flower": "starting",
        "log-server": "failed",
        "log-shipper": "running",
    }
    assert not found.healthy
    # a host that is no control host may not ask the broker
    assert found.unserved is None
    shipper = found.parts[-1]
    assert (shipper.pid, shipper.restarts, shipper.since) == (7, 2, "2026-03-01T00:00:00+00:00")
    assert found.parts[0].since is None


def test_a_part_that_does_not_answer_is_unresponsive(host: Host) -> None:
    # it has not noted what it runs
    (shipper,) = [part for part in status.status(host, systemctl).parts if part.pid]
    assert shipper.state == "unresponsive"
