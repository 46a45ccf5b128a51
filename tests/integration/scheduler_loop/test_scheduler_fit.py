"""The scheduler's loop is bounded only in the Airflow that was read."""

from __future__ import annotations

import pytest

from airflow_config import scheduler_fit


def test_the_installed_airflow_is_the_one_that_was_read() -> None:
    assert scheduler_fit.misfits() == []


def test_another_source_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(scheduler_fit.SOURCES, "Pool.slots_stats", "0" * 16)
    monkeypatch.setitem(scheduler_fit.SOURCES, "Pool.gone", "0" * 16)
    monkeypatch.setattr(scheduler_fit, "VERSIONS", ("9.9.9",))
    version, stats, gone = scheduler_fit.misfits()
    assert "expected Airflow 9.9.9" in version
    assert stats.startswith("Pool.slots_stats: expected source 0000")
    assert "Pool.gone" in gone


def test_the_executor_says_when_it_cannot_bound_the_loop(
    metadata_orm: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from airflow.models.dagrun import DagRun

    from airflow_config.executor import AirlaneExecutor

    monkeypatch.setattr(scheduler_fit, "VERSIONS", ("9.9.9",))
    stock = DagRun.get_running_dag_runs_to_examine
    executor = AirlaneExecutor()
    executor.start()
    try:
        assert DagRun.get_running_dag_runs_to_examine == stock
        assert "expected Airflow 9.9.9" in capsys.readouterr().out
    finally:
        executor.end()
