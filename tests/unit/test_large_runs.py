"""How long a run in which nothing can be scheduled may be left alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from airflow_config.large_runs import PER_TASK, SWEEP_ALL, LargeRuns

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


@pytest.fixture
def runs() -> LargeRuns:
    return LargeRuns(lambda: NOW)


def test_a_run_that_was_never_examined_does_not_rest(runs: LargeRuns) -> None:
    assert not runs.may_rest("d", 100, ago(1), None)


@pytest.mark.parametrize(
    ("size", "every"), [(25, SWEEP_ALL), (400, SWEEP_ALL), (4_000, 4_000 * PER_TASK)]
)
def test_the_more_tasks_the_longer_it_rests(runs: LargeRuns, size: int, every: float) -> None:
    assert runs.may_rest("d", size, ago(10_000), ago(every - 1))
    assert not runs.may_rest("d", size, ago(10_000), ago(every))


def test_a_run_whose_time_is_up_does_not_rest(runs: LargeRuns) -> None:
    runs.limit("d", timedelta(seconds=100))
    assert runs.may_rest("d", 4_000, ago(99), ago(1))
    assert runs.may_rest("d", 4_000, None, ago(1))
    assert not runs.may_rest("d", 4_000, ago(100), ago(1))
    assert runs.may_rest("another", 4_000, ago(100), ago(1))
    runs.limit("d", None)
    assert runs.may_rest("d", 4_000, ago(100), ago(1))
