"""The provider ec2 against moto's server: real calls of an AWS that makes no machine."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from airflow_config.place import ROOT
from deploy.local.ports import free_port
from tests.needs import ansible_commands
from tests.servers import serving

_PLAYBOOKS = Path(__file__).with_name("ec2")
_INVENTORY = ROOT / "deploy" / "ansible" / "providers" / "ec2" / "airlane.aws_ec2.yml"
_REGION = "eu-central-1"


@pytest.fixture(scope="module")
def ansible() -> Path:
    """Folder of the commands of Ansible."""
    return ansible_commands("moto_server")


@pytest.fixture
def aws(ansible: Path, tmp_path: Path) -> Iterator[str]:
    """An AWS without a machine: its address."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    words = [str(ansible / "moto_server"), "-H", "127.0.0.1", "-p", str(port)]
    with serving(words, tmp_path / "moto.log", lambda: _answers(url)):
        yield url


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/moto-api/", trust_env=False).is_success
    except httpx.HTTPError:
        return False


class Account:
    """An account of AWS, and the provider that works in it."""

    def __init__(self, ansible: Path, url: str, folder: Path) -> None:
        self._ansible = ansible
        self._folder = folder
        self._inventory = folder / _INVENTORY.name
        self._settings: dict[str, Any] = {"region": _REGION, "endpoint_url": url}
        self.there = self.play("account")
        self._settings |= {
            "fleet": "example",
            "image": self.there["image"],
            "type": "m7i.large",
            "types": {"batch": "c7i.2xlarge"},
            "subnet": self.there["subnet"],
            "security_groups": [self.there["group"]],
            "key": "operators",
        }
        plugin = yaml.safe_load(_INVENTORY.read_text()) | {"endpoint_url": url}
        self._inventory.write_text(yaml.safe_dump(plugin))

    def without(self, *names: str) -> None:
        """Forget settings."""
        for name in names:
            del self._settings[name]

    def play(self, name: str, *, code: int = 0, inventory: bool = True, **variables: Any) -> Any:
        """Run one of the playbooks beside this test; return its answer, or what it said."""
        answer = self._folder / "answer.json"
        variables |= {
            "airlane_ec2": self._settings,
            "answer": str(answer),
            # as scale.yml says it: the environment of Ansible has boto3
            "ansible_python_interpreter": str(self._ansible / "python"),
        }
        where = str(self._inventory) if inventory and self._inventory.exists() else "localhost,"
        playbook = str(_PLAYBOOKS / f"{name}.yml")
        done = self._run("ansible-playbook", "-i", where, playbook, "-e", json.dumps(variables))
        assert done.returncode == code, done.stdout[-5000:] + done.stderr[-2000:]
        return json.loads(answer.read_text()) if code == 0 else " ".join(done.stdout.split())

    def step(self, name: str, code: int = 0, *, knows: bool = True, **variables: Any) -> Any:
        """Run a step of the provider for the class batch.

        Parameters
        ----------
        knows
            Whether the inventory knows the VMs that there are.
        """
        variables |= {"step": name, "provider_class": "batch"}
        return self.play("step", code=code, inventory=knows, **variables)

    def states(self) -> dict[str, str]:
        """Return the state of each VM of the account, whosever it is."""
        return {vm["instance_id"]: vm["state"]["name"] for vm in self.play("vms")}

    def groups(self) -> dict[str, Any]:
        """Return the groups of the dynamic inventory."""
        done = self._run("ansible-inventory", "-i", str(self._inventory), "--list", "--export")
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))

    def _run(self, tool: str, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self._ansible / tool), *words],
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(self._folder),
                "LC_ALL": "C.UTF-8",
                "AWS_ACCESS_KEY_ID": "testing",
                "AWS_SECRET_ACCESS_KEY": "testing",
                "AWS_EC2_METADATA_DISABLED": "true",
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )


@pytest.fixture
def account(ansible: Path, aws: str, tmp_path: Path) -> Account:
    return Account(ansible, aws, tmp_path)


@pytest.mark.timeout(600)
def test_vms_are_made_grouped_by_their_class_and_deleted(account: Account) -> None:
    assert account.step("plan", provider_count=2)["plan"] == "2 new VMs (c7i.2xlarge)"
    made = account.step("add", provider_count=2)
    assert len(made["added"]) == 2
    assert set(made["candidates"]) == set(made["added"])

    # the next inventory has them as workers of their class, and nobody else's VM
    groups = account.groups()
    assert groups["workers"]["children"] == ["workers_batch"]
    assert set(groups["workers_batch"]["hosts"]) == set(made["added"])
    # the fleet's addresses: each host's own
    found = groups["_meta"]["hostvars"].values()
    assert len({str(variables["airlane_address"]) for variables in found}) == 2

    # one more than those that serve already
    more = account.step("add", provider_count=1)["added"]
    assert len(more) == 1
    assert not set(more) & set(made["added"])

    # a stranger's VM stays, even when it is named
    leaving = sorted(made["added"])[0]
    account.step("remove", provider_hosts=[leaving, account.there["stranger"]])
    left = {*made["added"], *more} - {leaving}
    assert set(account.groups()["workers_batch"]["hosts"]) == left
    assert account.states()[account.there["stranger"]] == "running"
    assert account.states()[leaving] == "terminated"
    account.step("done", provider_joined=[], provider_left=[leaving])


@pytest.mark.timeout(400)
def test_a_run_that_broke_off_makes_what_is_missing_only(account: Account) -> None:
    first = account.step("add", provider_count=1)["added"]
    # made, and then it broke off before the host was made a worker: it is none of the inventory's
    again = account.step("add", knows=False, provider_count=2)["added"]
    assert len(again) == 2
    assert set(first) < set(again)


@pytest.mark.timeout(400)
def test_settings_that_are_missing_are_named(account: Account) -> None:
    account.without("image", "key")
    said = account.step("plan", code=2, provider_count=1)
    assert "Expected airlane_ec2.image, airlane_ec2.key in group_vars, found nothing." in said
