"""Canaries: a run's id names one worker, and its task goes to that worker's queue alone."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_config import canary, queues
from airflow_config.canary import DAG_ID, NodeError
from airlane import canary_commands, lone_task
from tests.command_line import runner

NODES = ["onboarding@w3", "batch-2@w3", "batch@w3.example-1.internal", "big_jobs@10.0.0.7"]


def message(dag_id: str, run_id: str, queue: str = "control") -> tuple[Any, Any, Any, Any]:
    return ("key", SimpleNamespace(ti=SimpleNamespace(dag_id=dag_id, run_id=run_id)), queue, None)


@pytest.mark.parametrize("node", NODES)
def test_the_id_of_a_run_tells_its_worker(node: str) -> None:
    meant = canary.target(node)
    run_id = meant.run_id("k7f2")
    assert canary.target_of_run(DAG_ID, run_id) == meant
    assert "@" not in run_id, "no run id may hold it"
    assert canary.route(message(DAG_ID, run_id))[2] == meant.queue == f"canary.{node}"


@pytest.mark.parametrize("name", ["onboarding", "@w3", "Onboarding@w3", "onboarding@", "a@b@c", ""])
def test_what_is_no_worker_is_refused(name: str) -> None:
    with pytest.raises(NodeError, match="expected CLASS@HOST"):
        canary.target(name)


@pytest.mark.parametrize(
    ("dag_id", "run_id"),
    [("onboarding", canary.target("onboarding@w3").run_id("a")), (DAG_ID, "manual__2026-03-01")],
)
def test_all_other_work_stays_in_its_queue(dag_id: str, run_id: str) -> None:
    sent = message(dag_id, run_id)
    assert canary.route(sent) == sent


def test_a_workload_without_a_task_stays_in_its_queue() -> None:
    callback = ("key", SimpleNamespace(), "control", None)
    assert canary.route(callback) is callback


def test_a_workers_own_queue_is_none_of_the_models() -> None:
    assert all(canary.is_own_queue(canary.own_queue(node)) for node in NODES)
    assert not any(canary.is_own_queue(name) for name in queues.load().queues)


def test_a_process_knows_the_worker_that_it_belongs_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRLANE_PART", "worker-batch-2")
    monkeypatch.setattr(canary.socket, "gethostname", lambda: "w3")
    assert canary.this_node() == "batch-2@w3"


def test_a_worker_that_does_not_answer_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*_: object) -> None:
        raise lone_task.NoAnswerError("none within 1 s")

    monkeypatch.setattr(canary_commands, "reach", lambda: SimpleNamespace(airflow=nullcontext))
    monkeypatch.setattr(lone_task.LoneTask, "run", run)
    ended = runner(monkeypatch, capsys)("canary", "batch@w3", "--json")
    said = "airlane: expected a canary to come back from batch@w3, found: none within 1 s\n"
    assert (ended.code, ended.out, ended.err) == (1, "", said)
