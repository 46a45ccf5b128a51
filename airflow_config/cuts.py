"""What the policies cut: values of an author's beyond the queue's limits."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import Any

from airflow_config.durations import format_duration


@dataclass(frozen=True)
class Cut:
    """A value of an author's that is beyond what the queue allows, and was cut.

    Parameters
    ----------
    dag_id, task_id
        Whose; no task for a value of the DAG.
    argument
        Its name.
    wanted, given
        What the author wrote, and what holds instead.
    limit
        What allows no more: a key of queues.yaml, or a rule.
    """

    dag_id: str
    task_id: str | None
    argument: str
    wanted: Any
    given: Any
    limit: str

    def __str__(self) -> str:
        task = "" if self.task_id is None else f", task {self.task_id!r}"
        return (
            f"DAG {self.dag_id!r}{task}: {self.argument}: {_shown(self.wanted)} was cut to "
            f"{_shown(self.given)} ({self.limit})"
        )


def _shown(value: Any) -> str:
    if isinstance(value, Enum):
        return str(value.value)
    if not isinstance(value, timedelta):
        return str(value)
    seconds = value.total_seconds()
    return format_duration(value) if seconds >= 1 and seconds.is_integer() else f"{seconds:g}s"
