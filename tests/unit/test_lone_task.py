"""What is told of a task that failed."""

from __future__ import annotations

from typing import Any

import pytest

from airlane.lone_task import log_texts

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
