"""How often runs that nobody tells of are looked for."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_config import changed_runs
from airflow_config.changed_runs import ChangedRuns


class Looks:
    """Stands for a session, and counts what it is asked."""

    def __init__(self) -> None:
        self.count = 0

    def execute(self, *_: Any) -> list[Any]:
        self.count += 1
        return []


@pytest.fixture
def wakeup() -> Any:
    return SimpleNamespace(since=datetime.now(UTC), listening=True)


def test_looks_for_all_are_not_kept_away_by_those_for_a_few(wakeup: Any) -> None:
    now = 1000.0
    runs = ChangedRuns(wakeup, lambda: now)
    few, every = Looks(), Looks()
    for number in range(100):
        runs.untold(few, sweeps=False)  # type: ignore[arg-type]
        if number % 10 == 0:
            runs.untold(every, sweeps=True)  # type: ignore[arg-type]
        now += 0.1
    assert every.count == 10
    assert few.count <= 10 / changed_runs.LOOK


def test_a_look_for_all_is_one_for_a_few_too(wakeup: Any) -> None:
    runs = ChangedRuns(wakeup, lambda: 1000.0)
    looks = Looks()
    for sweeps in (True, False, True):
        runs.untold(looks, sweeps=sweeps)  # type: ignore[arg-type]
    assert looks.count == 1
