"""The relay as a process of its own, watched by systemd."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy import Engine

from airflow_config.place import ROOT
from intake import producer
from tests.app_database import AppDatabase
from tests.integration.relay.decisions import decide, stream
from tests.servers import wait_until

#: Where systemd listens, in the folder of the test.
NOTIFY = "notify"


class Service:
    """The relay as a process, watched by systemd."""

    def __init__(self, app_db: AppDatabase, redis_url: str, folder: Path) -> None:
        self.heartbeat = folder / "heartbeat"
        self.log = folder / "log"
        secrets = folder / "secrets"
        secrets.mkdir()
        (secrets / "app_db_url").write_text(app_db.relay + "\n")
        (secrets / "events_url").write_text(redis_url)
        self._environment = {
            "AIRLANE_SECRETS": str(secrets),
            "PYTHONPATH": str(ROOT),
            "NOTIFY_SOCKET": str(folder / NOTIFY),
            "WATCHDOG_USEC": "4000000",
        }

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        """Start it; `await_ready` says when it works."""
        words = [sys.executable, "-m", "intake.relay", "--heartbeat", str(self.heartbeat), *options]
        with self.log.open("wb") as out:
            return subprocess.Popen(words, cwd=ROOT, env=self._environment, stdout=out, stderr=out)

    def await_ready(self, process: subprocess.Popen[bytes]) -> None:
        """Await that it works, or fail with what it said."""
        ready = lambda: "relay: ready" in self.log.read_text()  # noqa: E731 - a condition
        wait_until(lambda: process.poll() is not None or ready(), "relay ready")
        assert process.poll() is None, self.log.read_text()[-3000:]
        assert self.heartbeat.exists()


@pytest.fixture
def service(app_db: AppDatabase, redis_url: str, tmp_path: Path) -> Iterator[Callable[[], Any]]:
    service = Service(app_db, redis_url, tmp_path)
    started: list[subprocess.Popen[bytes]] = []

    def start(*options: str) -> subprocess.Popen[bytes]:
        started.append(service.start(*options))
        service.await_ready(started[-1])
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait(60)


@pytest.mark.usefixtures("events")
def test_the_service_stops_cleanly(service: Callable[..., subprocess.Popen[bytes]]) -> None:
    process = service()
    process.terminate()
    assert process.wait(60) == 0


def test_the_service_is_woken_by_a_commit(
    service: Callable[..., subprocess.Popen[bytes]], worker_engine: Engine, events: redis.Redis
) -> None:
    decide(worker_engine, "before")
    service("--poll", "3600")
    assert set(producer.wait(events, ["before"], 60)) == {"before"}
    for number in range(5):
        decide(worker_engine, f"e{number}")
        assert producer.wait(events, [f"e{number}"], 60)


@pytest.mark.usefixtures("events")
def test_systemd_hears_that_the_service_is_ready_and_goes_on(
    service: Callable[..., subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / NOTIFY))
        systemd.settimeout(60)
        service()
        assert [systemd.recv(100) for _ in range(2)] == [b"READY=1\nWATCHDOG=1", b"WATCHDOG=1"]


def test_the_service_goes_on_after_a_kill_and_a_flush(
    service: Callable[..., subprocess.Popen[bytes]], worker_engine: Engine, events: redis.Redis
) -> None:
    process = service()
    decide(worker_engine, "a")
    assert producer.wait(events, ["a"], 60)
    process.kill()
    process.wait(60)
    decide(worker_engine, "b")
    service()
    assert producer.wait(events, ["b"], 60)
    events.flushall()
    assert set(producer.wait(events, ["a", "b"], 60)) == {"a", "b"}
    assert stream(events) == ["a", "b"]


def test_a_missing_setting_is_named() -> None:
    words = [sys.executable, "-m", "intake.relay"]
    result = subprocess.run(
        words, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, capture_output=True, timeout=60, check=False
    )
    assert result.returncode == 2
    assert b"AIRLANE_APP_DB_URL" in result.stderr
