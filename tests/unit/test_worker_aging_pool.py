"""When a Celery process takes no more tasks, and what becomes of it where Celery differs."""

from __future__ import annotations

import logging

import pytest
from celery.concurrency import asynpool, get_implementation, prefork

from workers import aging_pool, celery_settings


def loop(monkeypatch: pytest.MonkeyPatch, age: float) -> aging_pool.AgingWorker:
    """Return a process about to wait for tasks, of which there are always more."""
    monkeypatch.setattr(asynpool.Worker, "on_loop_start", lambda *_: None)
    monkeypatch.setattr(aging_pool.AgingWorker, "age", age)
    worker = object.__new__(aging_pool.AgingWorker)
    worker.wait_for_job = lambda: "a task"
    worker.on_loop_start(1)
    return worker


def test_the_installed_celery_is_the_one_that_was_read() -> None:
    assert aging_pool.misfits() == []


def test_a_process_of_its_age_takes_no_more_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = loop(monkeypatch, 0)
    assert worker.wait_for_job() == "a task", "each process runs one at least"
    with pytest.raises(SystemExit) as end:
        worker.wait_for_job()
    assert end.value.code == 0, "as one that was told to end, so that nothing counts as a failure"


def test_a_younger_process_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = loop(monkeypatch, 3600)
    assert [worker.wait_for_job() for _ in range(3)] == ["a task"] * 3


def test_celery_finds_the_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aging_pool.AgingWorker, "age", 1.0)
    name = aging_pool.pool(celery_settings.SECONDS_PER_CHILD)
    assert get_implementation(name) is aging_pool.TaskPool
    assert aging_pool.TaskPool.Pool.Worker.age == celery_settings.SECONDS_PER_CHILD


def test_another_celery_keeps_its_own_pool(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(aging_pool.SOURCES, "billiard.Worker.workloop", "another")
    with caplog.at_level(logging.ERROR):
        assert get_implementation(aging_pool.pool(1)) is prefork.TaskPool
    assert "billiard.Worker.workloop: expected source another" in caplog.text
