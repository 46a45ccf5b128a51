"""Commands about one host: a canary through its worker, and the tasks that run on it."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.table import Table

from airflow_config import canary as canaries
from airflow_config import live_workers
from airflow_config.live_workers import LiveWorker
from airflow_config.queues import Fleet
from airlane.lone_task import LoneTask, or_no_answer
from airlane.options import JsonFlag
from airlane.output import console, print_json, seconds
from airlane.reach import reach

#: Seconds for the registry of live workers to answer.
_TIMEOUT = 5.0

_EVERY_TASK = "/api/v2/dags/~/dagRuns/~/taskInstances"


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(canary)
    app.command()(tasks)


def canary(
    node: Annotated[
        str, typer.Argument(metavar="CLASS@HOST", help="A name that `airlane workers` shows.")
    ],
    release: Annotated[
        str | None, typer.Option(help="The release that must answer; any by default.")
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait.", min=1)] = 120,
    json: JsonFlag = False,
) -> None:
    """Send a task through one worker, by the way that all work takes; exit 1 when it fails."""
    meant = canaries.target(node)
    run_id = meant.run_id(secrets.token_hex(4))
    conf = {"release": release} if release else {}
    with (
        or_no_answer(f"expected a canary to come back from {node}"),
        reach().airflow() as airflow,
    ):
        task = LoneTask(airflow, canaries.DAG_ID, canaries.TASK_ID, run_id)
        found = task.run(conf, timeout)
    if json:
        print_json(found)
    else:
        console.print(f"{found['node']} answered: release {found['release']}", markup=False)


def tasks(
    host: Annotated[str | None, typer.Option(help="Only those of this host.")] = None,
    json: JsonFlag = False,
) -> None:
    """Show the tasks that run, and where."""
    reached = reach()
    with reached.airflow() as airflow:
        running = list(airflow.pages(_EVERY_TASK, "task_instances", state="running"))
    with live_workers.connect(reached.broker, _TIMEOUT) as broker:
        live = live_workers.read(broker)
    found = [
        _shown(task, live, reached.fleet)
        for task in running
        if host is None or task["hostname"] == host
    ]
    found.sort(key=lambda task: -task["seconds"])
    if json:
        print_json(found)
        return
    table = Table(box=None, padding=(0, 1))
    for column in ("host", "class", "DAG", "task", "run", "for"):
        table.add_column(column)
    for task in found:
        table.add_row(
            *(task["host"], task["worker_class"] or "?", task["dag_id"], task["task_id"]),
            *(task["run_id"], seconds(task["seconds"])),
        )
    console.print(table)


def _shown(task: dict[str, Any], live: Iterable[LiveWorker], model: Fleet) -> dict[str, Any]:
    since = datetime.fromisoformat(task["start_date"])
    return {
        "host": task["hostname"],
        "worker_class": _worker_class(task["hostname"], task["queue"], live, model),
        "dag_id": task["dag_id"],
        "task_id": task["task_id"],
        "run_id": task["dag_run_id"],
        "map_index": task["map_index"],
        "try_number": task["try_number"],
        "queue": task["queue"],
        "seconds": round(max(0.0, (datetime.now(UTC) - since).total_seconds()), 1),
    }


def _worker_class(host: str, queue: str, live: Iterable[LiveWorker], model: Fleet) -> str | None:
    """Return the class whose worker on the host has the task; Airflow knows the host only.

    A live worker there that serves the queue or holds tasks of it; where there is none, and so the
    task may be lost, the class at home in the queue.
    """
    there = [worker for worker in live if worker.host == host]
    for worker in there:
        if queue in worker.queues or worker.held.get(queue):
            return worker.worker_class
    return next((name for name, worker in model.workers.items() if worker.home == queue), None)
