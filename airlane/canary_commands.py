"""Commands about one host: a canary through its worker, and the tasks that run on it."""

from __future__ import annotations

import json as json_format
import secrets
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.table import Table

from airflow_config import canary as canaries
from airflow_config import live_workers
from airflow_config.live_workers import LiveWorker
from airflow_config.queues import Fleet
from airlane.airflow_client import AirflowClient
from airlane.output import console, errors, print_json, seconds
from airlane.reach import reach
from airlane.stack_commands import JsonFlag
from deploy.local.stack import StackError

#: Seconds between looks at a canary's run, and for the registry of live workers to answer.
_POLL, _TIMEOUT = 1.0, 5.0
#: Lines of a canary's log that are shown when it failed.
_LOG_LINES = 12

_RUNS = f"/api/v2/dags/{canaries.DAG_ID}/dagRuns"
_EVERY_TASK = "/api/v2/dags/~/dagRuns/~/taskInstances"


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(canary)
    app.command()(tasks)


def canary(
    node: Annotated[str, typer.Argument(metavar="CLASS@HOST", help="As `workers` shows it.")],
    release: Annotated[
        str | None, typer.Option(help="The release that must answer; any by default.")
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait.", min=1)] = 120,
    json: JsonFlag = False,
) -> None:
    """Send a task through one worker, by the way that all work takes; exit 1 when it fails."""
    meant = canaries.target(node)
    run_id = meant.run_id(secrets.token_hex(4))
    end = time.monotonic() + timeout
    with reach().airflow() as airflow:
        _start(airflow, run_id, release, end)
        state = _await_end(airflow, run_id, end)
        if state == "success":
            found = _answer(airflow, run_id)
            if json:
                print_json(found)
            else:
                console.print(f"{found['node']} answered: release {found['release']}", markup=False)
            return
        reason = (
            "\n".join(_log_end(airflow, run_id))
            if state == "failed"
            else _unanswered(airflow, run_id, timeout)
        )
    errors.print(
        f"airlane: expected a canary to come back from {node}, found: {reason}",
        markup=False,
        soft_wrap=True,
    )
    raise typer.Exit(1)


def _start(airflow: AirflowClient, run_id: str, release: str | None, end: float) -> None:
    body = {
        "dag_run_id": run_id,
        "logical_date": None,
        "conf": {"release": release} if release else {},
    }
    while True:
        try:
            airflow.call("POST", _RUNS, json=body)
        except StackError as error:
            # a fleet that was made a moment ago has not read its DAG files yet
            if "answered 404" not in str(error) or time.monotonic() > end:
                raise
            time.sleep(_POLL)
        else:
            return


def _await_end(airflow: AirflowClient, run_id: str, end: float) -> str:
    while True:
        state = airflow.run_state(canaries.DAG_ID, run_id)
        if state in {"success", "failed"} or time.monotonic() > end:
            return state
        time.sleep(_POLL)


def _task(airflow: AirflowClient, run_id: str, *rest: str) -> Any:
    path = "/".join((_RUNS, run_id, "taskInstances", canaries.TASK_ID, *rest))
    return airflow.call("GET", path)


def _answer(airflow: AirflowClient, run_id: str) -> dict[str, Any]:
    value = _task(airflow, run_id, "xcomEntries", "return_value")["value"]
    found: dict[str, Any] = json_format.loads(value) if isinstance(value, str) else value
    return found


def _log_end(airflow: AirflowClient, run_id: str) -> list[str]:
    number = _task(airflow, run_id)["try_number"]
    content = _task(airflow, run_id, "logs", str(max(number, 1)))["content"]
    lines = [text for line in content for text in log_texts(line)]
    return [f"a task that failed ({run_id}); the end of its log:", *lines[-_LOG_LINES:]]


def log_texts(line: Any) -> list[str]:
    """Return what a line of a task's log says: its event, then the exceptions that it carries.

    Of a task that failed the event is only that it did; why stands in the exception, which is
    followed by what caused it.
    """
    if not isinstance(line, dict):
        return [str(line)]
    raised = line.get("error_detail") or []
    return [
        str(line.get("event", "")),
        *(f"{error.get('exc_type')}: {error.get('exc_value')}" for error in raised),
    ]


def _unanswered(airflow: AirflowClient, run_id: str, timeout: float) -> str:
    state = _task(airflow, run_id)["state"]
    # or a worker that comes back in an hour would run it
    airflow.call("PATCH", f"{_RUNS}/{run_id}", json={"state": "failed"})
    hint = {
        "queued": "no worker took it. Is its unit active, and is it the name that `airlane "
        "workers` shows?",
        "running": "the worker took it and has not ended it",
    }.get(state or "", "the scheduler has not sent it. Is the pool control full?")
    return f"none within {timeout:g} s; its task is {state or 'not there yet'}: {hint}"


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
