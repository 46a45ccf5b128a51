"""A drain awaits what the registry tells of a worker, and leaves it at work when it is given up."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import redis

from airflow_config import live_workers
from airflow_config.live_workers import LiveWorker
from deploy.local import draining
from deploy.local.instance import Instance
from deploy.local.parts import off_duty
from deploy.local.site import RedisServer, Site
from deploy.local.stack import StackError

_NAME = "worker-batch"


class Worker:
    """Tells the registry of itself whenever the drain has looked, as a worker with tasks does."""

    def __init__(self, broker: redis.Redis, file: Path, tasks: list[int]) -> None:
        self._broker, self._file = broker, file
        #: What it runs at each beat once it is off duty; the last one stays.
        self._tasks = tasks
        self.beats = 0
        self.runs = True

    def states(self) -> dict[str, dict[str, Any]]:
        """Stand in for the supervisor, which is asked before each look."""
        return {_NAME: {"pid": 1 if self.runs else 0}}

    def beat(self) -> None:
        off = self._file.exists()
        running = self._tasks[min(self.beats, len(self._tasks) - 1)] if off else self._tasks[0]
        self.beats += off
        entry = LiveWorker(
            name=f"batch@{socket.gethostname()}",
            worker_class="batch",
            host=socket.gethostname(),
            concurrency=8,
            queues=() if off else ("batch",),
            running=running,
            release="1",
        )
        live_workers.write(self._broker, entry)


@pytest.fixture
def instance(tmp_path: Path, redis_url: str) -> Instance:
    made = Instance(tmp_path / "home", Site(broker=RedisServer(url=redis_url)))
    made.create()
    return made


def _draining(
    monkeypatch: pytest.MonkeyPatch, worker: Worker, step: Callable[[], None] | None = None
) -> None:
    """Have the worker tell of itself in the place of each pause between two looks."""
    pause = SimpleNamespace(
        sleep=lambda _seconds: (step or worker.beat)(), monotonic=time.monotonic
    )
    monkeypatch.setattr(draining, "time", pause)


def test_all_tasks_are_awaited(
    instance: Instance, broker: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Worker(broker, off_duty(instance, _NAME), [3, 3, 1, 0])
    worker.beat()
    _draining(monkeypatch, worker)
    said: list[str] = []
    draining.drain(instance, worker, _NAME, 60, said.append)  # type: ignore[arg-type]
    assert [line.partition(",")[0] for line in said] == [
        "worker-batch takes nothing new; 3 tasks run",
        "worker-batch takes nothing new; 1 task runs",
        "worker-batch takes nothing new and runs nothing",
    ]
    assert worker.beats >= 5, "idle at one beat alone may be a message under way"
    assert off_duty(instance, _NAME).exists(), "it must take nothing until it is stopped"


def test_whoever_interrupts_it_leaves_the_worker_at_work(
    instance: Instance, broker: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Worker(broker, off_duty(instance, _NAME), [2])
    worker.beat()

    def interrupt() -> None:
        worker.beat()
        if worker.beats == 3:
            raise KeyboardInterrupt

    _draining(monkeypatch, worker, interrupt)
    with pytest.raises(KeyboardInterrupt):
        draining.drain(instance, worker, _NAME, 60, lambda _line: None)  # type: ignore[arg-type]
    assert not off_duty(instance, _NAME).exists()


def test_a_worker_that_ended_is_drained(
    instance: Instance, broker: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Worker(broker, off_duty(instance, _NAME), [2])
    worker.beat()

    def end() -> None:
        worker.runs = False

    _draining(monkeypatch, worker, end)
    draining.drain(instance, worker, _NAME, None, lambda _line: None)  # type: ignore[arg-type]
    assert off_duty(instance, _NAME).exists()


def test_a_worker_that_says_nothing_is_not_awaited_for_ever(
    instance: Instance, broker: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Worker(broker, off_duty(instance, _NAME), [2])
    monkeypatch.setattr(draining, "_SILENT", 0.2)
    _draining(monkeypatch, worker, lambda: time.sleep(0.01))
    with pytest.raises(StackError, match="expected worker-batch to tell what it runs"):
        draining.drain(instance, worker, _NAME, None, lambda _line: None)  # type: ignore[arg-type]
    assert not off_duty(instance, _NAME).exists()


def test_a_broker_that_is_away_stops_nobody(tmp_path: Path) -> None:
    made = Instance(tmp_path / "home", Site(broker=RedisServer(url="redis://127.0.0.1:1/0")))
    made.create()
    worker = Worker(None, off_duty(made, _NAME), [2])  # type: ignore[arg-type]
    with pytest.raises(StackError, match="It is at work again"):
        draining.drain(made, worker, _NAME, None, lambda _line: None)  # type: ignore[arg-type]
    assert not off_duty(made, _NAME).exists()
