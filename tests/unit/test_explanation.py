"""What is said to be derived is what is derived, and what became of an author's values."""

from __future__ import annotations

import textwrap
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

from airflow_config import check, explanation, policies, queues
from airflow_config.durations import format_duration
from airflow_config.explanation import Explained, UnknownNameError
from airflow_config.queues import Fleet
from airflow_config.task_rules import task_rules

MODEL = """\
queues:
  urgent:
    priority: 9
    promise: {end_to_end: 3m, task: 1m, gap: 3s}
    task_timeout: 30s
    retries: {count: 4, delay: 1s, max_delay: 10s}
    allowed_dags: ["urgent*"]
  rest: {priority: 1, default: true, task_timeout: 2h}
workers:
  urgent: {home: urgent, concurrency: 8}
  rest: {home: rest, lends_to: [urgent], concurrency: 4, local: 2}
"""
FLEET = queues.read(MODEL, file="q.yaml")

DAGS = """\
from datetime import timedelta
from airflow.sdk import DAG, task, task_group
import beside

with DAG("urgent.sums", schedule=None, max_active_runs=9999):

    @task(queue="urgent", retries=0, priority_weight=5000, weight_rule="upstream",
          retry_delay=timedelta(hours=1), execution_timeout=timedelta(seconds=7))
    def add(x): ...

    @task_group
    def inner():
        @task(priority_weight=7)
        def plain(): ...
        plain()

    add.expand(x=[1, 2])
    inner()

with DAG("other", schedule=None, max_active_tasks=3):

    @task(queue="urgent")
    def refused(): ...
    refused()
"""


TARGETS = (
    *("urgent.sums.add", "urgent.sums.inner.plain", "urgent.sums", "other.refused"),
    *("other", "urgent.sum", "urgent.sums.ad"),
)


def explain_all(folder: str, fleet: Fleet) -> dict[str, Explained | UnknownNameError]:
    """Explain all targets in one process: Airflow loads slowly."""
    found: dict[str, Explained | UnknownNameError] = {}
    for target in TARGETS:
        try:
            found[target] = explanation.parse(folder, fleet, target)
        except UnknownNameError as error:
            found[target] = error
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("explained") / "dags"
    found.mkdir()
    (found / "sums.py").write_text(textwrap.dedent(DAGS))
    # a short name: Airflow's processes find it
    (found / "beside.py").write_text("")
    return found


@pytest.fixture(scope="module")
def explained(folder: Path) -> dict[str, Any]:
    return check.apart(explain_all, folder, FLEET)


def _json(value: Any) -> Any:
    return format_duration(value) if isinstance(value, timedelta) else value


@pytest.mark.parametrize("queue", FLEET.queues)
def test_the_policies_do_what_the_rules_say(queue: str) -> None:
    with DAG("urgent_sums", schedule=None):
        task = BashOperator(task_id="task", bash_command="true", queue=queue)
    policies.apply_to_task(task, FLEET, refuse=True)
    rules = task_rules(FLEET, queue)
    assert {name: _json(getattr(task, name)) for name in rules} == {
        name: rule.value for name, rule in rules.items()
    }


def test_a_queue_says_where_each_value_comes_from() -> None:
    found = {derived.name: derived for derived in explanation.of_queue(FLEET, "urgent")}
    slots = found["pool slots"]
    assert slots.value == FLEET.pool_slots()["urgent"] == 16
    assert slots.why.startswith(
        "8 of urgent (1 worker x concurrency 8) + 8 lent by rest (2 workers x concurrency 4)"
    )
    shown = slots.to_json(FLEET.source.where)
    assert shown["where"] == ["q.yaml:10", "q.yaml:11"]
    assert found["workers of rest"].value == 2
    assert "lent by rest; takes from urgent, rest in this order" in found["workers of rest"].why
    timeout = found["execution_timeout"].to_json(FLEET.source.where)
    assert (timeout["value"], timeout["where"]) == ("30s", ["q.yaml:5"])
    assert found["max_active_runs"].value == 512
    sent = found["seconds until a message that no worker took is sent again"]
    assert (sent.value, FLEET.source.where(sent.keys[0])) == (90, "q.yaml:4")


def test_only_the_queue_that_is_the_reason_tells_of_the_broker() -> None:
    names = [derived.name for derived in explanation.of_queue(FLEET, "rest")]
    assert "seconds until a message that no worker took is sent again" not in names
    assert "seconds until the broker gives a message that was not confirmed again" in names


def test_a_task_shows_what_was_cut_kept_and_filled(explained: dict[str, Any], folder: Path) -> None:
    found = explained["urgent.sums.add"]
    assert (found.dag, found.task, found.refused) == ("urgent.sums", "add", None)
    assert found.file == str(folder / "sums.py")
    values = {value.name: value for value in found.values}
    told = {name: (value.author, value.value, value.state) for name, value in values.items()}
    assert told == {
        "queue": ("urgent", "urgent", "kept"),
        "pool": (None, "urgent", "filled"),
        "priority_weight": (5000, 9999, "cut"),
        "weight_rule": ("upstream", "absolute", "cut"),
        "retries": (0, 0, "kept"),
        "retry_delay": ("1h", "10s", "cut"),
        "max_retry_delay": (None, "10s", "filled"),
        "retry_exponential_backoff": (None, 2.0, "filled"),
        "execution_timeout": ("7s", "7s", "kept"),
    }
    assert values["retry_delay"].where == ["q.yaml:6", "q.yaml:6"]


def test_a_task_of_a_group_that_names_no_queue(explained: dict[str, Any]) -> None:
    found = explained["urgent.sums.inner.plain"]
    told = {value.name: (value.author, value.value, value.state) for value in found.values}
    assert told["queue"] == (None, "rest", "filled")
    assert told["priority_weight"] == (7, 1007, "kept")
    assert told["weight_rule"] == (None, "absolute", "filled")
    assert told["retries"] == (None, 3, "filled")


def test_a_dag_and_its_bounds_of_runs_and_tasks(explained: dict[str, Any]) -> None:
    found = explained["urgent.sums"]
    assert found.task is None
    runs, tasks = found.values
    assert (runs.name, runs.author, runs.value, runs.state) == ("max_active_runs", 9999, 512, "cut")
    # 8 + 2 x 4 of urgent, 2 x 4 of rest
    assert (tasks.name, tasks.author, tasks.value) == ("max_active_tasks", None, 24)
    assert tasks.state == "filled"
    assert tasks.where == ["q.yaml:10", "q.yaml:10", "q.yaml:11", "q.yaml:11"]
    runs, tasks = explained["other"].values
    assert (runs.author, runs.value, runs.state) == (None, 512, "filled")
    assert (tasks.author, tasks.value, tasks.state) == (3, 3, "kept")


def test_a_refusal_is_told_with_the_rest(explained: dict[str, Any]) -> None:
    found = explained["other.refused"]
    assert found.refused is not None
    assert "found 'urgent', which is for urgent*" in found.refused
    assert found.values


def test_an_unknown_name_has_the_nearest(explained: dict[str, Any]) -> None:
    for target, nearest in (("urgent.sum", "urgent.sums"), ("urgent.sums.ad", "add")):
        error = explained[target]
        assert isinstance(error, UnknownNameError)
        assert str(error).endswith(f"did you mean '{nearest}'?")
