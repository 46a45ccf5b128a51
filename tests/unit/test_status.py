"""What `airlane status` says of queues that nobody serves."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_config import live_workers, queues
from airflow_config.live_workers import LiveWorker
from airlane import status_commands
from airlane.output import console
from deploy.local import status
from deploy.local.instance import Instance
from deploy.local.ports import free_port
from deploy.local.site import RedisServer, Site
from deploy.local.status import PartStatus, Status


@pytest.fixture
def instance(tmp_path: Path) -> Instance:
    """An instance whose broker is somebody else's, and does not answer."""
    address = f"redis://127.0.0.1:{free_port()}/0"
    return Instance(tmp_path, Site(broker=RedisServer(url=address)))


def test_queues_that_no_live_worker_consumes_are_named(instance, monkeypatch) -> None:
    batch = LiveWorker(
        name="batch@host",
        worker_class="batch",
        host="host",
        concurrency=8,
        queues=("batch", "control"),
        release="1",
    )
    monkeypatch.setattr(live_workers, "read", lambda _broker: [batch])
    assert status._unserved(instance, queues.load()) == ["onboarding"]


def test_without_the_broker_nothing_is_known(instance) -> None:
    assert status._unserved(instance, queues.load()) is None


@pytest.mark.parametrize(("unserved", "lines"), [(["onboarding", "batch"], 2), ([], 0), (None, 0)])
def test_a_person_sees_them(unserved: list[str] | None, lines: int, capsys) -> None:
    console.print(status_commands.view(Status(True, [], {}, unserved)))
    said = capsys.readouterr().out
    assert said.count("no live worker consumes it") == lines
    assert said.splitlines()[-1] == ("every part runs" if lines else "healthy")


def test_a_stack_that_is_stopped_is_called_so(capsys) -> None:
    part = PartStatus(name="relay", state="stopped", pid=None, restarts=0, since=None, url=None)
    console.print(status_commands.view(Status(False, [part], {}, None)))
    said = capsys.readouterr().out
    assert "stopped. Start it: make up" in said
    assert "not healthy" not in said
