"""What a part tells systemd."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_config.systemd import Service


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "notify"))
        server.setblocking(False)
        yield server


def told(server: socket.socket) -> list[str]:
    found = []
    while True:
        try:
            found.append(server.recv(4096).decode())
        except BlockingIOError:
            return found


def test_ready_comes_first_and_then_progress_now_and_then(
    tmp_path: Path, systemd: socket.socket
) -> None:
    now = 0.0
    environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "20000000"}
    service = Service(environment, clock=lambda: now)
    assert service.supervised
    assert service.watchdog == 20
    service.progress()
    assert told(systemd) == ["READY=1\nWATCHDOG=1"]
    now = 4.9
    service.progress()
    assert told(systemd) == []
    now = 5.0
    service.progress()
    assert told(systemd) == ["WATCHDOG=1"]


def test_without_a_watchdog_it_is_told_once(tmp_path: Path, systemd: socket.socket) -> None:
    service = Service({"NOTIFY_SOCKET": str(tmp_path / "notify")})
    for _ in range(3):
        service.progress()
    assert told(systemd) == ["READY=1\nWATCHDOG=1"]


def test_what_was_not_heard_is_told_again(tmp_path: Path) -> None:
    service = Service({"NOTIFY_SOCKET": str(tmp_path / "notify")})
    service.progress()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "notify"))
        service.progress()
        assert server.recv(4096).startswith(b"READY=1")


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": ""}, {"WATCHDOG_USEC": "soon"}])
def test_without_systemd_nothing_happens(environment: dict[str, str]) -> None:
    service = Service(environment)
    service.progress()
    assert not service.supervised
    assert service.watchdog is None


def test_a_forked_process_does_not_speak_for_it(
    tmp_path: Path, systemd: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service({"NOTIFY_SOCKET": str(tmp_path / "notify")})
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert not service.supervised
    service.progress()
    assert told(systemd) == []
