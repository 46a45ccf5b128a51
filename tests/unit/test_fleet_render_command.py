"""`airlane fleet render`: several roles at once, and all or none of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from airlane.cli import app
from deploy.fleet.host import Host
from tests.fleet_hosts import made


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    found = made(tmp_path)
    monkeypatch.setenv("AIRLANE_FLEET", str(found.folder))
    # root would look for the groups of a fleet's host
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    return found


def render(*words: str) -> Result:
    return CliRunner().invoke(app, ["fleet", "render", *words])


def changed(*words: str) -> list[str]:
    done = render("--json", *words)
    assert done.exit_code == 0, done.output
    return list(json.loads(done.output)["changed"])


def test_several_roles_are_written_once(host: Host) -> None:
    told = changed("--check", "worker", "logs")
    assert not host.state("worker").exists()
    assert changed("worker", "logs", "worker") == told
    assert str(host.airflow_config("worker")) in told
    assert str(host.state("logs") / "shipping.json") in told
    assert all(Path(path).is_file() for path in told)
    assert changed("worker", "logs") == []


def test_nothing_is_written_when_one_of_them_cannot_be(host: Host) -> None:
    (host.folder / "secrets" / "relay" / "events_relay").unlink()
    assert render("worker", "relay").exit_code != 0
    assert not host.state("worker").exists()


def test_an_unknown_role_is_said_before_anything_is_written(host: Host) -> None:
    done = render("worker", "relai")
    assert done.exit_code == 2
    assert "relay" in done.output
    assert not host.state("worker").exists()
