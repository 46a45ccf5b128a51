"""What an author wrote is told apart from nothing, by the settings that airlane's parts have."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_config import check, queues
from airflow_config.queues import Fleet

MODEL = """\
queues:
  urgent:
    priority: 9
    promise: {end_to_end: 3m, task: 1m, gap: 3s}
    task_timeout: 30s
    retries: {count: 4, delay: 1s, max_delay: 2m}
  none: {priority: 5, task_timeout: 30s, retries: {count: 0}}
  rest: {priority: 1, default: true, task_timeout: 2h}
workers:
  urgent: {home: urgent, concurrency: 40}
  none: {home: none, concurrency: 1}
  rest: {home: rest, lends_to: [urgent], concurrency: 40}
"""

#: Each value is Airflow's default, or that of the default queue, or what a number may be near.
DAGS = """\
from datetime import timedelta
from airflow.sdk import DAG, ExceptionRetryPolicy, task

SAID = {"queue": "urgent", "retries": 3, "retry_delay": timedelta(seconds=10)}

with DAG("said", schedule=None, max_active_runs=16, max_active_tasks=16):

    @task(**SAID)
    def plain(): ...

    @task(**SAID)
    def mapped(x): ...

    @task(queue="urgent", retries=0)
    def once(): ...

    @task(queue="urgent", retries=0)
    def once_mapped(x): ...

    @task(queue="none")
    def none(): ...

    @task(queue="none")
    def none_mapped(x): ...

    @task(queue="urgent", retry_policy=ExceptionRetryPolicy(rules=[]))
    def with_policy(): ...

    plain(), once(), none(), with_policy()
    mapped.expand(x=[1]), once_mapped.expand(x=[1]), none_mapped.expand(x=[1])

with DAG("unsaid", schedule=None):

    @task(queue="urgent")
    def plain(): ...

    @task(queue="urgent")
    def mapped(x): ...

    plain(), mapped.expand(x=[1])

with DAG("by_default_args", schedule=None, default_args=SAID):

    @task
    def plain(): ...

    @task
    def mapped(x): ...

    plain(), mapped.expand(x=[1])
"""


def stored(folder: str, fleet: Fleet) -> dict[str, Any]:
    """Return what the scheduler reads of each DAG and task; runs in a child with our settings."""
    from airflow.dag_processing.dagbag import DagBag
    from airflow.serialization.serialized_objects import DagSerialization

    from airflow_config import policies

    found: dict[str, Any] = {}
    for dag in DagBag(folder, bundle_path=Path(folder), bundle_name="dags-folder").dags.values():
        policies.apply_to_dag(dag, fleet)
        for task in dag.tasks:
            policies.apply_to_task(task, fleet, refuse=True)
        read = DagSerialization.from_dict(DagSerialization.to_dict(dag))
        found[dag.dag_id] = (read.max_active_runs, read.max_active_tasks)
        for task in read.tasks:
            found[f"{dag.dag_id}.{task.task_id}"] = (task.retries, task.retry_delay)
    return found


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("unsaid") / "dags"
    folder.mkdir()
    (folder / "said.py").write_text(DAGS)
    return check.apart(stored, folder, queues.read(MODEL))


def test_what_is_airflow_s_default_or_another_queue_s_is_kept(kept: dict[str, Any]) -> None:
    assert kept["said"] == (16, 16)
    said = (3, timedelta(seconds=10))
    for task in ("said.plain", "said.mapped", "by_default_args.plain", "by_default_args.mapped"):
        assert kept[task] == said, task


def test_nothing_said_gets_what_the_queue_says(kept: dict[str, Any]) -> None:
    assert kept["unsaid"] == (512, 80)
    assert kept["unsaid.plain"] == kept["unsaid.mapped"] == (4, timedelta(seconds=1))


def test_no_retries_are_none_for_the_scheduler_too(kept: dict[str, Any]) -> None:
    for task in ("once", "once_mapped", "none", "none_mapped"):
        # below zero where Airflow leaves 0 out of what it stores: none either
        assert kept[f"said.{task}"][0] <= 0, task


def test_a_retry_policy_decides_about_as_many_retries_as_the_queue_has(
    kept: dict[str, Any],
) -> None:
    assert kept["said.with_policy"][0] == 4
