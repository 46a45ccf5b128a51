"""Autoscaling by systemd: the control host plans, and runs scale.yml itself."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
import yaml

from tests.hosts.fleet import Fleet
from tests.hosts.inventory import CONTROL
from tests.hosts.machines import await_true
from tests.hosts.signups import SignUps

#: Where the control host has what its operator brings: a checkout, the inventory, keys.
DEPLOY = "/etc/airlane-deploy"
PROJECT = "/opt/airlane-deploy/project"
#: Seconds: a look, packages and a release on a bare host, its canary; all on the machine's cores.
GROWS_WITHIN = 900
#: A lull of 4 minutes, a drain.
SHRINKS_WITHIN = 900


def _deploy_host(fleet: Fleet) -> None:
    """Bring what the role autoscale expects of whoever keeps the fleet's keys."""
    state = fleet.machines.state
    brought = fleet.folder / "brought"
    shutil.copytree(fleet.inventory.parent, brought / "inventories")
    hosts = brought / "inventories" / "test" / "hosts.yml"
    groups = yaml.safe_load(hosts.read_text())
    # from there the hosts are reached as hosts are
    known = f"-o UserKnownHostsFile={DEPLOY}/known_hosts"
    groups["vms"]["vars"] = {
        "ansible_user": "deploy",
        "ansible_python_interpreter": "/usr/bin/python3",
        "ansible_ssh_common_args": f"{known} -o IdentitiesOnly=yes -o BatchMode=yes",
    }
    hosts.write_text(yaml.safe_dump(groups, sort_keys=False))
    settings = brought / "inventories" / "test" / "group_vars" / "all" / "fleet.yml"
    values = yaml.safe_load(settings.read_text()) | {
        "airlane_queues_file": f"{DEPLOY}/inventories/queues.yaml",
        "airlane_controller_command": "/opt/airlane/current/bin/airlane",
        "release_source": PROJECT,
        "release_builder_python": "/usr/bin/python3",
    }
    settings.write_text(yaml.safe_dump(values, sort_keys=False))
    shutil.copy(state / "known_hosts", brought)
    shutil.copy(state / "id_ed25519", brought / "ssh_key")
    shutil.copy(fleet.folder / "vault-password", brought)
    fleet.bring(CONTROL, brought, DEPLOY)
    fleet.bring(CONTROL, fleet.project, PROJECT)
    fleet.bring(CONTROL, state / "cache" / "airlane", "/var/lib/airlane-deploy/.cache/airlane")
    for command in (
        "sudo apt-get install -qqy --no-install-recommends git openssh-client",
        "id airlane-deploy >/dev/null 2>&1 || sudo useradd --system --create-home "
        "--home-dir /var/lib/airlane-deploy --shell /usr/sbin/nologin airlane-deploy",
        f"sudo chown -R airlane-deploy: {DEPLOY} {PROJECT} /var/lib/airlane-deploy",
        f"sudo chmod -R go= {DEPLOY}",
        f"cd {PROJECT} && sudo -u airlane-deploy python3 tools/install.py --packages-only "
        "/var/lib/airlane-deploy/ansible requirements-ansible.lock",
    ):
        fleet.machines.shell(CONTROL, command, deadline=600)


@pytest.fixture
def scaled(usual: Fleet) -> Iterator[Fleet]:
    """The fleet, the class batch scaled by itself."""
    _deploy_host(usual)
    settings = usual.inventory / "group_vars" / "all" / "fleet.yml"
    text = settings.read_text()
    values = yaml.safe_load(text) | {
        "airlane_autoscale": True,
        "airlane_autoscale_classes": ["batch"],
        "autoscale_playbooks": f"{PROJECT}/deploy/ansible/playbooks",
        "autoscale_inventory": f"{DEPLOY}/inventories/test",
        "autoscale_ansible": "/var/lib/airlane-deploy/ansible/bin/ansible-playbook",
        "autoscale_vault_password_file": f"{DEPLOY}/vault-password",
        "autoscale_ssh_key": f"{DEPLOY}/ssh_key",
    }
    settings.write_text(yaml.safe_dump(values, sort_keys=False))
    usual.play("site")
    yield usual
    # who serves what was written there
    members = usual.machines.shell(CONTROL, f"sudo cat {DEPLOY}/inventories/test/members.yml")
    (usual.inventory / "members.yml").write_text(members)
    settings.write_text(yaml.safe_dump(values | {"autoscale_enabled": False}, sort_keys=False))
    usual.play("site")
    settings.write_text(text)


def _hosts(fleet: Fleet) -> set[str]:
    return {w["host"] for w in fleet.workers().values() if w["worker_class"] == "batch"}


def test_hosts_come_with_the_load_and_go_after_it(scaled: Fleet, signups: SignUps) -> None:
    since = scaled.now()
    run = scaled.trigger("fleet_sleepers", count=300, seconds=20)
    took = await_true(lambda: len(_hosts(scaled)) == 3, "three hosts of batch", GROWS_WITHIN, 5)
    scaled.times.append(("autoscale: load to two more hosts", took))
    await_true(
        lambda: {"h2", "h3", "h4"} <= {task["hostname"] for task in scaled.tasks(run)},
        "work on each",
        120,
    )
    scaled.await_run(run, 1200)
    took = await_true(lambda: len(_hosts(scaled)) == 1, "one host of batch", SHRINKS_WITHIN, 5)
    scaled.times.append(("autoscale: end of the load to one host", took))
    assert scaled.interrupted(since) == [], "each host was drained"
