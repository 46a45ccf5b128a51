"""Names of hosts in playbooks: refused when they can't be, spoken of when passed over."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.local_ansible import DEPLOY, run_playbook
from tests.needs import ansible_commands

PLAYBOOKS = DEPLOY / "playbooks"
MODEL = {"classes": {"batch": {"hosts": {"min": 1, "max": 9}}}}
MEMBERS = {
    "control": {"hosts": {"c1": {}}},
    "workers": {"children": {"workers_batch": {"hosts": {"w1": {}, "w2": {}}}}},
    "candidates": {"hosts": {"w1": {}, "w2": {}, "w3": {}}},
}


@pytest.fixture(scope="module")
def ansible() -> Path:
    """Folder of the commands of Ansible."""
    return ansible_commands("ansible-playbook")


class Controller:
    """Runs parts of the playbooks on this machine; none of them changes anything."""

    def __init__(self, ansible: Path, folder: Path) -> None:
        self._ansible = ansible
        self._folder = folder
        self.groups: dict[str, Any] = dict(MEMBERS)

    def play(self, plays: list[dict[str, Any]], **variables: Any) -> tuple[int, str]:
        """Run plays with --check; return the exit code, and what was said, in one line."""
        inventory, file = self._folder / "hosts.yml", self._folder / "play.yml"
        inventory.write_text(yaml.safe_dump(self.groups))
        file.write_text(yaml.safe_dump(plays, sort_keys=False))
        done = run_playbook(
            self._ansible,
            self._folder,
            *("--check", "-i", str(inventory), str(file), "-e", json.dumps(variables)),
        )
        return done.returncode, " ".join((done.stdout + done.stderr).split())

    def plan(self, **variables: Any) -> tuple[int, str]:
        """Run the plan of scale.yml, without its look at the hosts."""
        text = (PLAYBOOKS / "scale.yml").read_text()
        for folder in ("tasks/", "vars/", "../providers/"):
            text = text.replace(f" {folder}", f" {PLAYBOOKS}/{folder}")
            text = text.replace(f"[{folder}", f"[{PLAYBOOKS}/{folder}")
        (play,) = [play for play in yaml.safe_load(text) if play["name"] == "Scale - plan"]
        known = {"name": "Know the model", "set_fact": {"fleet_model_read": MODEL}}
        play["tasks"].insert(0, known)
        return self.play([play], **{"class": "batch", "count": 2} | variables)


@pytest.fixture
def controller(ansible: Path, tmp_path: Path) -> Controller:
    return Controller(ansible, tmp_path)


@pytest.mark.timeout(300)
def test_the_plan_says_whom_it_passes_over(controller: Controller) -> None:
    code, said = controller.plan(hosts_out="w2,w3,ip-10-0-0-7", way="in")
    assert code == 0, said
    assert "To drain and stop: w2." in said
    assert "Passed over, as they do not serve it: w3." in said
    assert "as the inventory does not know them: ip-10-0-0-7 (" in said


@pytest.mark.timeout(300)
def test_a_person_is_told_of_a_slip(controller: Controller) -> None:
    code, said = controller.plan(hosts_out="w22")
    assert code
    assert (
        "Nothing was changed. Expected hosts of the inventory in -e hosts_out=, found w22." in said
    )


@pytest.mark.timeout(300)
def test_names_that_no_host_can_have_are_refused(controller: Controller) -> None:
    (play,) = [
        {**play, "tasks": [task for task in play["tasks"] if "Names of hosts" in task["name"]]}
        for play in yaml.safe_load((PLAYBOOKS / "preflight.yml").read_text())
        if "what the controller knows" in play["name"]
    ]
    play["vars_files"] = [str(PLAYBOOKS / "vars" / "fleet.yml")]
    assert len(play["tasks"]) == 1
    code, said = controller.play([play])
    assert code == 0, said
    bad: dict[str, Any] = {"192.0.2.1": {}, "w_4": {}, "-w": {}, "w" * 65: {}}
    good: dict[str, Any] = {"w4.example.org": {}, "i-0abc": {}, "W5": {}}
    controller.groups["candidates"] = {"hosts": bad | good}
    code, said = controller.play([play])
    assert code
    assert f"64 characters at most, and no addresses, found {', '.join(sorted(bad))}." in said


@pytest.mark.timeout(300)
def test_a_host_that_somebody_else_named_is_refused(controller: Controller) -> None:
    role = {"name": str(DEPLOY / "roles" / "base"), "tasks_from": "hostname.yml"}
    task = {"name": "Name", "include_role": role}
    play = {"name": "Name", "hosts": "w3", "connection": "local", "gather_facts": False}
    code, said = controller.play([play | {"tasks": [task]}], base_set_hostname=False)
    assert code
    assert f"called w3, as in the inventory, found {os.uname().nodename}. Fix:" in said
