"""What a DAG or a task has where its author said nothing, by Airflow's settings.

Airflow fills in its defaults when a DAG is made, and keeps no note of who said what (3.3.2). So
those settings have values that nobody writes by hand (see `settings` and `queue_settings`), and
what an author wrote is known by being another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from airflow.configuration import conf

# Of airflow/sdk/definitions/_internal/abstractoperator.py, 3.3.2.
from airflow.sdk.bases.operator import DEFAULT_RETRY_DELAY

#: Attribute -> what it is when nothing was said.
_UNSAID: Mapping[str, Callable[[], Any]] = {
    "queue": lambda: conf.get("operators", "default_queue"),
    "pool": lambda: "default_pool",
    "priority_weight": lambda: 1,
    "weight_rule": lambda: conf.get("core", "default_task_weight_rule"),
    "retries": lambda: conf.getint("core", "default_task_retries"),
    "max_retry_delay": lambda: None,
    # `0` and `False` of an author's look the same; `1` is how to ask for a delay that stays
    "retry_exponential_backoff": lambda: 0,
    "execution_timeout": lambda: None,
    "max_active_runs": lambda: conf.getint("core", "max_active_runs_per_dag"),
    "max_active_tasks": lambda: conf.getint("core", "max_active_tasks_per_dag"),
}


def is_unsaid(name: str, value: Any) -> bool:
    """Tell whether a value is what Airflow has for an author who said nothing.

    Parameters
    ----------
    name
        The attribute of a DAG or a task.
    value
        What it is before the policies change it.
    """
    if name == "retry_delay":
        # Every operator without one has this very object, mapped or not; an author's is another,
        # of whatever length.
        return value is DEFAULT_RETRY_DELAY
    return bool(value == _UNSAID[name]())
