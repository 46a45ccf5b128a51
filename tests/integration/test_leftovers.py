"""Processes are found by their marker, also those that change their title."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from deploy.local import leftovers, valkey
from deploy.local.instance import Instance
from deploy.local.ports import free_port
from deploy.local.site import Site
from tests.servers import serving, wait_until

#: As Celery and Airflow's API server do it.
_TITLED = """
import setproctitle, sys
setproctitle.setproctitle("a title that is longer than the command line " * 9)
sys.stdin.read()
"""


def _mark(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    for name, value in Instance(folder, Site()).environment("a-part", "worker").items():
        monkeypatch.setenv(name, value)


def test_a_valkey_server_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _mark(monkeypatch, tmp_path)
    port = free_port()
    config = valkey.write_config(tmp_path, port, logins={}, passwords={}, fsync="no")
    (tmp_path / "users.acl").write_text("user default on nopass ~* &* +@all\n")
    ready = lambda: valkey.answers(f"redis://127.0.0.1:{port}/0")  # noqa: E731 - a condition
    with serving([str(valkey.binary()), str(config)], tmp_path / "log", ready):
        found = leftovers.find(tmp_path)
        assert [leftovers.part_of(process) for process in found] == ["a-part"]


def test_a_process_with_a_title_is_found_and_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _mark(monkeypatch, tmp_path)
    with subprocess.Popen([sys.executable, "-c", _TITLED], stdin=subprocess.PIPE) as process:
        titled = psutil.Process(process.pid)
        wait_until(lambda: " ".join(titled.cmdline()).startswith("a title"), "the title")
        assert leftovers.find(tmp_path) == [titled]
        leftovers.end([titled], grace=10)
        assert not titled.is_running()


def test_other_instances_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _mark(monkeypatch, tmp_path / "other")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        assert [found.pid for found in leftovers.find(tmp_path / "other")] == [process.pid]
        assert leftovers.find(tmp_path) == []
