"""An operator's commands reach the fleet of their host, else the stack on their machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from kombu.utils.url import parse_url
from sqlalchemy.engine import make_url

from airlane.reach import reach
from deploy.fleet.site import VARIABLE
from deploy.local.instance import Instance
from deploy.local.site import Site
from tests.fleet_hosts import QUEUES, made


def test_on_a_host_of_a_fleet_it_is_the_fleet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = made(tmp_path)
    monkeypatch.setenv(VARIABLE, str(host.folder))
    copy = host.started_queues("control")
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_text(QUEUES)
    known = host.secrets("control")
    found = reach()
    events = parse_url(found.events)
    assert (events["virtual_host"], events["userid"], events["password"]) == (
        *("0", "operator", known["events_operator"]),
    )
    assert events["hostname"] == host.site.events.host
    assert found.events.startswith("rediss://")
    assert parse_url(found.broker)["password"] == known["broker_operator"]
    database = make_url(found.app_db)
    assert (database.username, database.database) == ("airlane_owner", "app")
    assert database.query["sslmode"] == "verify-full"
    assert make_url(found.metadata_db).username == "airflow"
    assert (found.api_url, found.ca_file) == (host.site.api.url, host.site.tls.ca)
    assert list(found.fleet.workers), "the queue model that was rendered"
    assert found.queues_file == copy
    assert not [value for value in known.values() if value in repr(found)]


def test_elsewhere_it_is_the_stack_on_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "none"))
    monkeypatch.setenv("AIRLANE_HOME", str(tmp_path / "home"))
    instance = Instance(tmp_path / "home", Site())
    instance.create()
    found = reach()
    assert found.broker == instance.broker_url("operator")
    assert found.events == instance.events_url("operator")
    assert found.app_db == instance.app_db_url("airlane_owner")
    assert found.metadata_db == instance.place().airflow_db_url
    assert found.queues_file == instance.started_queues
    assert (found.api_url, found.ca_file) == (instance.api_url, None)
