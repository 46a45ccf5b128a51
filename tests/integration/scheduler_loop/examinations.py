"""Runs to add to a metadata database, and what a loop of the scheduler examines."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import psycopg
from airflow.utils.session import create_session

from airflow_config.agenda import Run
from airflow_config.scheduler_loop import SchedulerLoop
from airflow_config.wakeup import Change
from tests.metadata_database import insert_run, insert_task

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
URGENT, BATCH = ("onboarding", "u"), ("rescore", "b")


@dataclass
class Told:
    """Stands for the wake-up."""

    listening: bool = True
    since: datetime = LONG_AGO
    changes: list[Change] = field(default_factory=list)

    def wait(self, seconds: float) -> list[Change]:  # noqa: ARG002
        changes, self.changes = self.changes, []
        return changes


def add(writer: psycopg.Connection, run: Run, *states: str | None, state: str = "running") -> None:
    """Add a run that was examined just now; one task for each state."""
    dag_id, run_id = run
    insert_run(writer, run_id, state, dag_id)
    weight = 100_000 if dag_id == "onboarding" else 1_000
    for number, task_state in enumerate(states):
        insert_task(writer, f"t{number}", run_id, task_state, dag_id, weight)
    if state == "running":
        writer.execute(
            "UPDATE dag_run SET last_scheduling_decision = now() WHERE run_id = %s", [run_id]
        )


def change(loop: SchedulerLoop, *runs: Run, kind: Any = "task") -> None:
    loop._note([Change(kind, *run) for run in runs])


def examined(loop: SchedulerLoop) -> list[Run]:
    """One loop: what it locks and examines; an examination sets the time, as Airflow does."""
    loop.agenda.begin()
    with create_session() as session:
        runs = loop.runs_to_examine(session=session)
        for run in runs:
            run.last_scheduling_decision = datetime.now(UTC)
        found = [(run.dag_id, run.run_id) for run in runs]
    if loop.agenda.batch_pass:
        loop.agenda.passed(0)
    return found
