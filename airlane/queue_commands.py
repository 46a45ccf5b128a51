"""Commands about queues: what waits in them, and whether DAGs and queues.yaml fit together."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from airflow_config import queues as queue_model
from airflow_config.place import ROOT
from airlane.output import console, errors, print_json, seconds
from airlane.queue_state import queue_states
from airlane.reach import reach
from airlane.stack_commands import JsonFlag


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(queues)
    app.command()(check)


def queues(json: JsonFlag = False) -> None:
    """Show what waits and runs in each queue, most urgent first."""
    reached = reach()
    with reached.airflow() as airflow:
        found = queue_states(reached.fleet, reached.broker, airflow)
    if json:
        print_json([state.to_json() for state in found])
        return
    table = Table(box=None, padding=(0, 1))
    table.add_column("queue")
    columns = ("priority", "scheduled", "waiting", "oldest", "running", "slots", "workers")
    for column in columns:
        table.add_column(column, justify="right")
    for state in found:
        table.add_row(
            state.name,
            str(state.priority),
            str(state.scheduled),
            str(state.waiting),
            seconds(state.oldest_s),
            str(state.running),
            f"{state.slots_used}/{state.slots_total}",
            str(state.workers),
        )
    console.print(table)


def check(
    dags: Annotated[Path, typer.Option(help="Folder of DAG files.")] = ROOT / "dags",
    json: JsonFlag = False,
) -> None:
    """Check queues.yaml and every DAG against it; exit 1 when anything is wrong."""
    from airflow_config import check as checks  # noqa: PLC0415 - loads Airflow

    try:
        problems = checks.check_dags(dags, queue_model.load())
    except queue_model.QueuesError as error:
        problems = checks.queue_problems(error)
    if json:
        print_json([asdict(problem) for problem in problems])
    else:
        for problem in problems:
            errors.print(str(problem), markup=False, soft_wrap=True)
        if not problems:
            console.print("queues.yaml and all DAGs are in order.")
    if problems:
        raise typer.Exit(1)
