"""The inventories to copy fit the queue model that they come with."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import yaml

from airflow_config import queues
from airflow_config.place import ROOT

FOLDER = ROOT / "deploy" / "ansible" / "inventories"
EXAMPLES = sorted(path.name for path in FOLDER.iterdir() if (path / "hosts.yml").exists())
#: Hosts that do something at first: control plane, servers, workers. The README says so too.
SIZES = {"one-vm": (1, 1), "small": (1, 3), "large": (2, 24)}


def read(example: str, name: str) -> dict[str, Any]:
    return dict(yaml.safe_load((FOLDER / example / name).read_text()))


def members(example: str) -> dict[str, set[str]]:
    """Return the hosts of each worker class."""
    groups = read(example, "members.yml")["workers"]["children"]
    return {name.removeprefix("workers_"): set(group["hosts"]) for name, group in groups.items()}


def known(example: str) -> dict[str, dict[str, Any]]:
    """Return the variables of each host that has some."""
    groups = read(example, "hosts.yml")
    found: dict[str, dict[str, Any]] = {}
    for group in groups.values():
        for host, variables in group["hosts"].items():
            found[host] = found.get(host, {}) | (variables or {})
    return found


def test_these_are_all() -> None:
    assert set(EXAMPLES) == set(SIZES)


@pytest.mark.parametrize("example", EXAMPLES)
def test_its_groups_are_the_classes_within_their_bounds(example: str) -> None:
    model = queues.load().workers
    assert set(members(example)) == set(model), "a class without a host, or a host without a class"
    for name, hosts in members(example).items():
        bounds = model[name].hosts
        assert bounds.min <= len(hosts) <= bounds.max, f"{example}: {len(hosts)} hosts of {name}"


@pytest.mark.parametrize("example", EXAMPLES)
def test_it_is_as_large_as_it_says(example: str) -> None:
    groups = read(example, "hosts.yml")
    workers = set().union(*members(example).values())
    busy = {host for name in ("control", "database", "redis") for host in groups[name]["hosts"]}
    assert (len(groups["control"]["hosts"]), len(busy | workers)) == SIZES[example]
    if example == "large":
        assert len(workers - busy) == 20


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_host_can_be_reached_and_every_group_has_hosts(example: str) -> None:
    groups, hosts = read(example, "hosts.yml"), known(example)
    assert set().union(*members(example).values()) <= set(hosts)
    for name in ("control", "database", "redis", "candidates"):
        assert groups[name]["hosts"], f"{example}: no host in {name}"
    addresses = [ip_address(variables["ansible_host"]) for variables in hosts.values()]
    assert len(set(addresses)) == len(hosts), "two hosts with one address"


@pytest.mark.parametrize("example", EXAMPLES)
def test_its_settings_are_what_the_playbooks_need(example: str) -> None:
    settings = read(example, str(Path("group_vars", "all", "fleet.yml")))
    assert {
        *("airlane_address", "airlane_people_from", "airlane_producers_from"),
        *("base_ca_dir", "base_ca_passphrase"),
    } <= set(settings)
    assert "airlane_site:" in (FOLDER / example / "group_vars" / "all" / "fleet.yml").read_text()
