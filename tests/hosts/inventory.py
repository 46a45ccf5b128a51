"""What an operator of the test hosts has at the beginning: inventory and project."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from airflow_config.place import ROOT
from tests.hosts.machines import Machines

#: The control host; databases, Redis and the control class's worker are there too.
CONTROL = "h1"
#: Who serves which class at the beginning; the other hosts are candidates.
MEMBERS = {"onboarding": ["h2"], "batch": ["h2"], "control": [CONTROL]}
CANDIDATES = ["h2", "h3", "h4"]


def write_inventory(inventory: Path, machines: Machines, queues: Path, project: Path) -> None:
    """Write an inventory: that of the example `small`, for the hosts here.

    Parameters
    ----------
    inventory
        Its folder; made.
    queues
        The queue model, which the tests change.
    project
        Of which releases are made.
    """
    shutil.copytree(ROOT / "deploy" / "ansible" / "inventories" / "small", inventory)
    shutil.copy(Path(__file__).with_name("queues.yaml"), queues)
    count = len(CANDIDATES) + 1
    hosts = {f"h{i}": {"ansible_host": machines.address(f"h{i}")} for i in range(1, count + 1)}
    here = dict.fromkeys([CONTROL])
    groups = {
        "all": {"hosts": hosts},
        # not `all`: the controller would take it for its own
        "vms": {"hosts": dict.fromkeys(hosts), "vars": machines.inventory_variables()},
        **{name: {"hosts": here} for name in ("control", "database", "redis")},
        "candidates": {"hosts": dict.fromkeys(CANDIDATES)},
    }
    (inventory / "hosts.yml").write_text(yaml.safe_dump(groups, sort_keys=False))
    children = {
        f"workers_{name}": {"hosts": dict.fromkeys(hosts)} for name, hosts in MEMBERS.items()
    }
    members = {"workers": {"children": children}}
    (inventory / "members.yml").write_text(yaml.safe_dump(members, sort_keys=False))
    settings = inventory / "group_vars" / "all" / "fleet.yml"
    values = yaml.safe_load(settings.read_text()) | {
        "airlane_queues_file": str(queues),
        "airlane_controller_command": str(Path(sys.executable).with_name("airlane")),
        "airlane_people_from": [f"{machines.address(CONTROL).rpartition('.')[0]}.1"],
        "airlane_producers_from": [f"{machines.address(CONTROL).rpartition('.')[0]}.1"],
        "release_source": str(project),
        "release_builder_python": sys.executable,
        # three worker hosts for two classes
        "airlane_shared_hosts": True,
        # a test host's disk is the machine's
        "airlane_space_new_mb": 2000,
        "release_min_free_mb": 2000,
        # time comes from the machine; there is no way out to a server
        "base_timesync": False,
        "postgres_memory_mb": 1024,
    }
    settings.write_text(yaml.safe_dump(values, sort_keys=False))


def misname(machines: Machines) -> None:
    """Call worker hosts as clones of one image are called: the fleet gives them their names."""
    for host in CANDIDATES[:2]:
        machines.shell(host, "sudo hostnamectl set-hostname debian")


def copy_project(project: Path) -> None:
    """Copy what git knows and would take, as it is now: that is what is tested."""
    words = ["git", "-C", str(ROOT), "ls-files", "-z", "-co", "--exclude-standard"]
    listed = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    for name in listed.split("\0"):
        source = ROOT / name
        if name and source.is_file():
            target = project / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
    for file in Path(__file__).with_name("dags").glob("*.py"):
        shutil.copy(file, project / "dags")
