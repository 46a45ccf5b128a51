"""The run of one task: what is told of its failure, and its end when nobody waits any more."""

from __future__ import annotations

from typing import Any

import pytest

from airlane.lone_task import LoneTask, log_texts
from deploy.local.stack import StackError

#: As Airflow's API returns the line of a task that failed, shortened.
FAILED = {
    "timestamp": "2026-03-01T02:30:00Z",
    "event": "Task failed with exception",
    "level": "error",
    "error_detail": [
        {"exc_type": "AirflowFailException", "exc_value": "expected release 2, found 1"},
        {"exc_type": "ModuleNotFoundError", "exc_value": "No module named 'packs'"},
    ],
}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("a line of an old log", ["a line of an old log"]),
        ({"event": "Imported"}, ["Imported"]),
        ({"event": "Imported", "error_detail": None}, ["Imported"]),
        (
            FAILED,
            [
                "Task failed with exception",
                "AirflowFailException: expected release 2, found 1",
                "ModuleNotFoundError: No module named 'packs'",
            ],
        ),
    ],
)
def test_why_a_task_failed_stands_behind_that_it_did(line: Any, said: list[str]) -> None:
    assert log_texts(line) == said


class Airflow:
    """Takes a run; every look at it ends with an error."""

    def __init__(self, error: BaseException) -> None:
        self._error = error
        self.calls: list[tuple[str, Any]] = []

    def call(self, method: str, _path: str, **options: Any) -> Any:
        self.calls.append((method, options["json"].get("state")))

    def run_state(self, *_: str) -> str:
        raise self._error


@pytest.mark.parametrize("error", [StackError("answered 503"), KeyboardInterrupt()])
def test_a_run_that_nobody_waits_for_is_failed(error: BaseException) -> None:
    airflow = Airflow(error)
    with pytest.raises(type(error)):
        LoneTask(airflow, "dag", "task", "run").run({}, timeout=60)  # type: ignore[arg-type]
    assert airflow.calls == [("POST", None), ("PATCH", "failed")]
