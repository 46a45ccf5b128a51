"""Whether a part must be started anew, and what is said of it."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from airflow_config import queues
from deploy.fleet import notes, running, serving
from deploy.fleet.host import Host
from deploy.fleet.secrets import Role
from tests.fleet_hosts import FLEET, QUEUES, made, note_in, render, runs


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    found = made(tmp_path)
    note_in(tmp_path, monkeypatch)
    roles: tuple[Role, ...] = ("control", "worker", "relay", "logs", "flower")
    for role in roles:
        render(found, role, QUEUES)
    return found


def shows(active: str = "active", pid: int = 7, restarts: int = 0) -> running.Run:
    text = f"ActiveState={active}\nResult=success\nNRestarts={restarts}\nMainPID={pid}\n"
    return lambda _: text


def state(host: Host, part: str, class_name: str | None = None, **shown: object) -> list[str]:
    show = shows(**shown)  # type: ignore[arg-type]
    return running.state(host, FLEET, part, class_name, show).stale


def test_what_runs_as_it_should_is_not_stale(host: Host) -> None:
    runs(host, "log-shipper")
    found = running.state(host, FLEET, "log-shipper", None, shows(restarts=2))
    assert (found.stale, found.ready, found.restarts, found.on_duty) == ([], True, 2, True)
    assert found.unit == "airlane-log-shipper.service"


def test_what_does_not_run_is_stale(host: Host) -> None:
    runs(host, "log-shipper")
    assert state(host, "log-shipper", active="failed", pid=0) == ["not running"]


def test_a_note_of_another_process_says_nothing(host: Host) -> None:
    runs(host, "log-shipper", pid=6)
    found = running.state(host, FLEET, "log-shipper", None, shows())
    assert (found.stale, found.ready) == ([], False)


def test_another_release_is_stale(host: Host) -> None:
    folder = notes.folder("log-shipper", None)
    folder.mkdir(parents=True)
    found = notes.note(host, FLEET, "log-shipper", None)
    notes.write(dataclasses.replace(found, release="0.0.1", pid=7), folder)
    assert state(host, "log-shipper") == ["release"]


def test_a_unit_that_was_written_anew_is_stale(host: Host) -> None:
    runs(host, "log-shipper")
    (notes.UNITS / "airlane-log-shipper.service").write_text("[Service]\n")
    assert state(host, "log-shipper") == ["unit"]


def differs(host: Host, part: str, class_name: str | None, text: str) -> bool:
    before = notes.note(host, FLEET, part, class_name)
    for role in ("control", "worker", "relay"):
        render(host, role, text)  # type: ignore[arg-type]
    return notes.differences(before, notes.note(host, queues.read(text), part, class_name)) != []


@pytest.mark.parametrize(
    ("part", "class_name", "touched"),
    [
        ("scheduler", None, True),
        ("worker", "batch", True),
        ("worker", "onboarding", False),
        ("relay", None, False),
    ],
)
def test_a_changed_queue_restarts_only_what_it_touches(
    host: Host, part: str, class_name: str | None, touched: bool
) -> None:
    text = QUEUES.replace("task_timeout: 5m", "task_timeout: 4m")
    assert text != QUEUES
    assert differs(host, part, class_name, text) is touched


@pytest.mark.parametrize(("part", "class_name"), [("scheduler", None), ("worker", "batch")])
def test_a_comment_restarts_nothing(host: Host, part: str, class_name: str | None) -> None:
    assert not differs(host, part, class_name, f"# a word\n{QUEUES}")


def test_a_rotated_secret_restarts_who_reads_it(host: Host) -> None:
    before = {part: notes.note(host, FLEET, part, None) for part in ("relay", "scheduler")}
    (host.folder / "secrets" / "relay" / "events_relay").write_text("another-one-of-the-relay")
    render(host, "relay", QUEUES)
    after = {part: notes.note(host, FLEET, part, None) for part in before}
    assert notes.differences(before["relay"], after["relay"]) == ["settings"]
    assert notes.differences(before["scheduler"], after["scheduler"]) == []


def test_a_worker_is_off_duty_while_its_file_is_there(host: Host) -> None:
    assert running.is_on_duty(host, "batch")
    mark = host.state("worker") / "batch" / "off-duty"
    mark.parent.mkdir()
    mark.touch()
    assert not running.is_on_duty(host, "batch")
    assert running.is_on_duty(host, "onboarding")
    assert running.is_on_duty(host, None)


def test_units_are_named_as_ansible_names_them() -> None:
    assert notes.unit_name("worker", "batch") == "airlane-worker@batch.service"
    assert notes.unit_name("api-server", None) == "airlane-api-server.service"
    assert notes.folder("worker", "batch").name == "worker-batch"


@pytest.mark.parametrize("part", [name for name in serving.PARTS if name != "worker"])
def test_every_part_can_be_asked(host: Host, part: str) -> None:
    good, said = running._answer(host, FLEET, part, None, 0)
    # nothing runs here; the log shipper waits for keepers that are away
    assert good == (part == "log-shipper")
    assert part in said or "database" in said


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("#!/bin/sh\necho no bus >&2\nexit 1\n", "found: no bus. Fix:"),
        (None, "No such file or directory: 'systemctl'"),
    ],
)
def test_a_systemd_that_does_not_answer_is_no_part_that_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None, said: str
) -> None:
    if script:
        (tmp_path / "systemctl").write_text(script)
        (tmp_path / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(running.SystemdError, match=re.escape(said)):
        running.show("airlane-relay.service", ["MainPID"], running.systemctl)
