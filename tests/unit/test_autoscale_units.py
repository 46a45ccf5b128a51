"""Units that carry out what the plan asks for: each its own way, and none holds up another."""

from __future__ import annotations

import pytest

from airflow_config.place import ROOT

UNITS = ROOT / "deploy" / "ansible" / "roles" / "autoscale" / "templates"


def setting(unit: str, name: str) -> str:
    """Return a setting of a unit's template, with the lines that go on joined."""
    text = (UNITS / f"{unit}.j2").read_text().replace("\\\n", " ")
    (found,) = [line for line in text.splitlines() if line.startswith(f"{name}=")]
    return " ".join(found.partition("=")[2].split())


@pytest.mark.parametrize("way", ["out", "in"])
def test_each_request_starts_the_unit_of_its_way(way: str) -> None:
    file = f"/var/lib/airlane/autoscale/%i.{way}.json"
    assert setting(f"airlane-scale-{way}@.path", "PathChanged") == file
    assert f"scale.yml -e @{file}" in setting(f"airlane-scale-{way}@.service", "ExecStart")


def test_new_hosts_wait_for_other_new_hosts_and_for_no_drain() -> None:
    adds = setting("airlane-scale-out@.service", "ExecStart")
    drains = setting("airlane-scale-in@.service", "ExecStart")
    closes = setting("airlane-scale-in@.service", "ExecStopPost")
    lock = "/usr/bin/flock --no-fork /var/lib/airlane-deploy/hosts.lock "
    assert adds.startswith(lock)
    assert "flock" not in drains
    assert drains.endswith("-e ports=later"), "a host that is being made would be shut out"
    assert closes.startswith(lock)
    assert closes.endswith(" ports.yml")
