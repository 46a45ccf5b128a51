"""What the playbooks give to the roles: derived from an inventory, and as its operator wants it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from airflow_config.sizes import parse_size
from deploy.fleet.site import Site
from tests.local_ansible import DEPLOY, run_playbook
from tests.needs import ansible_commands

#: Of a host with 4 GiB, as its kernel tells it.
MEMORY_MB = 3910
#: Variables that an operator may set.
SETTING = re.compile(r"\b(airlane_[a-z0-9_]+)\s*\|\s*default")


@pytest.fixture(scope="module")
def ansible() -> Path:
    """Folder of the commands of Ansible."""
    return ansible_commands("ansible-playbook")


class Inventory:
    """A copy of an example, and what the playbooks derive from it for one of its hosts."""

    def __init__(self, ansible: Path, folder: Path) -> None:
        self._ansible = ansible
        self._folder = folder

    def derive(self, example: str, host: str, names: list[str], **settings: Any) -> dict[str, Any]:
        """Return variables of a host, with settings as in the inventory's group_vars."""
        inventory = self._folder / example
        inventory.symlink_to(DEPLOY / "inventories" / example)
        answer = self._folder / "answer.json"
        file = self._folder / "derive.yml"
        shared = DEPLOY / "playbooks" / "vars"
        pairs = ", ".join(f"'{name}': {name}" for name in names)
        play = {
            "name": "Derive",
            "hosts": host,
            "connection": "local",
            "gather_facts": False,
            "vars_files": [str(shared / "fleet.yml"), str(shared / "roles.yml")],
            "tasks": [
                {
                    "name": "Be a host with so much memory",
                    "ansible.builtin.set_fact": {"memtotal_mb": MEMORY_MB, "cacheable": True},
                },
                {
                    "name": "Write them",
                    "ansible.builtin.copy": {
                        "content": "{{ {" + pairs + "} | to_json }}",
                        "dest": str(answer),
                        "mode": "0600",
                    },
                },
            ],
        }
        file.write_text(yaml.safe_dump([play]))
        # as an inventory beside it, whose group_vars count as much as the example's
        more = self._folder / "more"
        (more / "group_vars").mkdir(parents=True)
        (more / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": {host: {}}}}))
        values = {"airlane_secrets": {}} | settings
        (more / "group_vars" / "all.yml").write_text(yaml.safe_dump(values))
        done = run_playbook(
            self._ansible,
            self._folder,
            *("-i", str(inventory), "-i", str(more), str(file), "-e", "ansible_become=false"),
        )
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
        return dict(json.loads(answer.read_text()))


@pytest.fixture
def inventory(ansible: Path, tmp_path: Path) -> Inventory:
    return Inventory(ansible, tmp_path)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("example", "host", "broker", "events"),
    [("small", "c1", "192MiB", "384MiB"), ("large", "redis1", "384MiB", "1344MiB")],
)
def test_redis_refuses_before_the_memory_is_used_up(
    inventory: Inventory, example: str, host: str, broker: str, events: str
) -> None:
    site = inventory.derive(example, host, ["airflow_site"])["airflow_site"]
    assert site["broker"]["max_memory"] == broker
    assert site["events"]["max_memory"] == events
    # a rewrite may take twice as much
    assert parse_size(broker) + parse_size(events) < MEMORY_MB * 2**20 / 2
    Site.model_validate(site)


@pytest.mark.timeout(300)
def test_other_hosts_know_no_bound(inventory: Inventory) -> None:
    site = inventory.derive("small", "w1", ["airflow_site"])["airflow_site"]
    assert site["events"] == {"host": "192.0.2.11", "port": 6380}


@pytest.mark.timeout(300)
def test_an_operator_has_it_otherwise(inventory: Inventory) -> None:
    found = inventory.derive(
        "small",
        "c1",
        [
            *("airflow_site", "api_server_batch", "postgres_memory_percent", "postgres_clients"),
            *("firewall_rules", "base_tls_names", "base_tls_addresses"),
        ],
        airlane_site={"events": {"max_memory": "2GiB"}, "intake": {"stream_days": 3}},
        airlane_batch_api=False,
        airlane_postgres_memory_percent=40,
        airlane_database_clients={"airlane_monitor": ["10.0.0.9"]},
        airlane_firewall_rules=[{"name": "node exporter", "port": 9100, "from": ["10.0.0.9"]}],
        airlane_tls_names=["airflow.example"],
        airlane_tls_addresses=["10.0.0.1"],
    )
    site = Site.model_validate(found["airflow_site"])
    assert site.events.max_memory == 2 * 2**30
    # what was not named is as it was
    assert (site.events.host, site.events.port) == ("192.0.2.11", 6380)
    assert site.broker.max_memory == 192 * 2**20
    assert site.intake.stream_days == 3
    assert site.api.batch_url is None
    assert found["api_server_batch"] is False
    assert found["postgres_memory_percent"] == 40
    assert found["postgres_clients"]["airlane_monitor"] == ["192.0.2.11", "10.0.0.9"]
    assert found["postgres_clients"]["airflow"] == ["192.0.2.11"]
    reached = {rule["name"]: rule["from"] for rule in found["firewall_rules"]}
    assert reached["node exporter"] == ["10.0.0.9"]
    assert reached["the API of batch tasks"] == []
    assert "10.0.0.9" in reached["PostgreSQL"]
    assert found["base_tls_names"] == ["c1", "airflow.example"]
    assert found["base_tls_addresses"] == ["192.0.2.11", "127.0.0.1", "10.0.0.1"]


@pytest.mark.timeout(300)
def test_without_settings_it_is_as_usual(inventory: Inventory) -> None:
    names = ["airflow_site", "api_server_batch", "postgres_memory_percent", "firewall_rules"]
    found = inventory.derive("small", "c1", names)
    assert found["airflow_site"]["api"]["batch_url"] == "https://192.0.2.11:8444"
    assert found["api_server_batch"] is True
    assert found["postgres_memory_percent"] == 25
    reached = {rule["name"]: rule["from"] for rule in found["firewall_rules"]}
    assert len(reached["the API of batch tasks"]) == 3


def test_each_setting_of_an_inventory_is_documented() -> None:
    files = [*(DEPLOY / "playbooks").rglob("*.yml"), *(DEPLOY / "providers").rglob("*.yml")]
    used = {name for file in files for name in SETTING.findall(file.read_text())}
    assert {"airlane_site", "airlane_members_file", "airlane_people_from"} <= used
    text = (DEPLOY / "inventories" / "README.md").read_text()
    assert [name for name in sorted(used) if f"`{name}`" not in text] == []
