"""The Ansible roles: what is documented is what there is, and no fact stands in two places."""

import importlib.util
import json
import os
import re
import shutil
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from airlane import fleet_commands
from deploy.logins import DATABASES, LOGINS, MONITOR, MONITORING

ROLES = Path(__file__).resolve().parents[2] / "deploy" / "ansible" / "roles"
NAMES = sorted(path.name for path in ROLES.iterdir() if path.is_dir())


def read(role: str, path: str):
    return yaml.safe_load((ROLES / role / path).read_text()) or {}


def options(role: str) -> dict:
    found = {}
    for entry in read(role, "meta/argument_specs.yml")["argument_specs"].values():
        found |= entry.get("options", {})
    return found


@pytest.mark.parametrize("role", NAMES)
def test_every_variable_is_specified_with_its_default(role):
    specified = {
        name: option.get("default")
        for name, option in options(role).items()
        if not option.get("required")
    }
    assert specified == read(role, "defaults/main.yml"), (
        f"meta/argument_specs.yml (left) and defaults/main.yml (right) of {role} differ; put into "
        "one what stands in the other"
    )


@pytest.mark.parametrize("role", NAMES)
def test_every_variable_is_described_and_begins_with_its_role(role):
    for name, option in options(role).items():
        assert name.startswith(f"{role}_"), f"{role}: rename {name} to {role}_..."
        assert option.get("description"), f"{role}: {name} has no description"


@pytest.mark.parametrize("role", NAMES)
def test_every_required_variable_is_named_in_the_defaults(role):
    text = (ROLES / role / "defaults" / "main.yml").read_text()
    for name, option in options(role).items():
        assert not option.get("required") or name in text, (
            f"{role}: {name} is required; say so in a comment of defaults/main.yml"
        )


@pytest.mark.parametrize("role", NAMES)
def test_every_role_says_what_it_is_for(role):
    assert (ROLES / role / "README.md").read_text().startswith(f"# {role}\n")


@pytest.mark.parametrize("role", NAMES)
def test_no_role_knows_a_group_of_the_inventory(role):
    for path in (ROLES / role).rglob("*"):
        if path.suffix in {".yml", ".j2"}:
            found = re.search(r"\bgroups\[|\bgroup_names\b", path.read_text())
            assert not found, f"{path}: {found[0]}; have the playbook pass hosts or addresses"


def test_postgres_makes_the_logins_that_airlane_uses():
    known = read("postgres", "vars/main.yml")
    assert known["__postgres_databases"] == DATABASES
    assert known["__postgres_logins"] == {name: list(where) for name, where in LOGINS.items()}
    assert known["__postgres_monitor"] == MONITOR
    assert known["__postgres_monitoring"] == MONITORING


@pytest.fixture(scope="module")
def prune_releases() -> ModuleType:
    path = ROLES / "release" / "files" / "prune_releases.py"
    spec = importlib.util.spec_from_file_location("prune_releases", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_releases_that_are_needed_are_kept_and_the_newest_others(prune_releases, tmp_path):
    ages = ["before", "drained", "oldest", "middle", "newest", "current"]  # the oldest first
    for at, name in enumerate(ages):
        marker = tmp_path / "releases" / name / "release.json"
        marker.parent.mkdir(parents=True)
        marker.write_text(json.dumps({"environment": f"env-{name}"}))
        os.utime(marker, (at, at))
        environment = tmp_path / "environments" / f"env-{name}"
        environment.mkdir(parents=True)
        (environment / ".complete").touch()
    (tmp_path / "environments" / "being-made").mkdir()
    (tmp_path / "current").symlink_to("releases/current")
    (tmp_path / "previous").symlink_to("releases/before")

    kept, deleted = prune_releases.plan(tmp_path, 1, {"drained"})

    assert {path.name for path in deleted} == {"oldest", "middle", "env-oldest", "env-middle"}
    assert {path.name for path in kept if path.parent.name == "releases"} == {
        *("current", "newest", "drained", "before")
    }


def test_what_is_deleted_half_is_no_environment_any_more(prune_releases, tmp_path, monkeypatch):
    environment = tmp_path / "environments" / "env"
    environment.mkdir(parents=True)
    (environment / ".complete").touch()
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", lambda _: pytest.fail("interrupted"))
        with pytest.raises(pytest.fail.Exception):
            prune_releases.delete(environment)
    assert not environment.exists(), "the role would take it for a whole one"
    assert prune_releases.plan(tmp_path, 1, set()) == ([], [])
    (left,) = prune_releases.left_over(tmp_path)
    environment.mkdir()  # made anew meanwhile
    prune_releases.delete(left)
    prune_releases.delete(environment)
    assert list((tmp_path / "environments").iterdir()) == []


def test_on_a_bare_host_there_is_nothing_to_delete(prune_releases, tmp_path):
    assert prune_releases.plan(tmp_path, 3, set()) == ([], [])


def units() -> list[tuple[str, str, str]]:
    """Return unit, user and settings' role of each part that a role of Ansible starts."""
    found = []
    for file in sorted(ROLES.glob("*/tasks/*.yml")):
        for task in yaml.safe_load(file.read_text()) or []:
            given = task.get("vars", {})
            for role in given.get("airflow_unit_settings", []):
                user = given.get("airflow_unit_user", "airlane")
                found.append((given["airflow_unit_name"], user, role))
    return found


@pytest.mark.parametrize(("unit", "user", "role"), units())
def test_a_part_may_read_its_settings(unit, user, role):
    group = fleet_commands._GROUPS[role]
    assert group == user, f"{unit} runs as {user}; airlane fleet render {role} writes for {group}"
