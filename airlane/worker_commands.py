"""The command `workers`: the workers that live, and what each of them does."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from airflow_config import live_workers
from airflow_config.live_workers import LiveWorker, RunningTask
from airlane import live_view
from airlane.live_view import Seconds, WatchFlag
from airlane.options import JsonFlag
from airlane.output import seconds
from airlane.reach import reach

#: Seconds in which the broker answers.
_TIMEOUT = 5.0
#: Tasks that are shown of each worker, the longest first; JSON and `airlane tasks` have all.
_SHOWN = 5


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(workers)


def workers(
    every: Seconds = None,
    host: Annotated[str | None, typer.Option(help="Only those of this host.")] = None,
    watch: WatchFlag = False,
    json: JsonFlag = False,
) -> None:
    """Show the workers that live, what each runs, and its release."""
    pause = live_view.interval(watch, every)
    with live_workers.connect(reach().broker, _TIMEOUT) as broker:

        def look() -> list[LiveWorker]:
            live = live_workers.read(broker)
            return [worker for worker in live if host is None or worker.host == host]

        live_view.show(look, view, _to_json, every=pause, json=json)


def _to_json(found: list[LiveWorker]) -> list[object]:
    return [worker.model_dump(mode="json") for worker in found]


def view(found: list[LiveWorker]) -> RenderableType:
    """Return the table that people see."""
    now = datetime.now(UTC)
    table = Table(box=None, padding=(0, 1))
    columns = ("worker", "class", "slots", "running", "longest", "took one", "queues", "release")
    for column in columns:
        table.add_column(column, no_wrap=True)
    for worker in found:
        table.add_row(
            *(worker.name, worker.worker_class, str(worker.concurrency), str(worker.running)),
            seconds(worker.longest_s if worker.running else None),
            "-" if worker.taken_at is None else f"{seconds(_age(worker.taken_at, now))} ago",
            *(", ".join(worker.queues) or "none: off duty, or it stops", worker.release),
        )
    lines = [line for worker in found for line in _tasks(worker, now)]
    releases = Counter(worker.release for worker in found)
    if len(releases) > 1:
        shown = ", ".join(f"{name} ({count})" for name, count in releases.most_common())
        lines.append(f"several releases: {shown}")
    if not found:
        lines.append("No live worker.")
    return Group(table, *map(Text, lines))


def _tasks(worker: LiveWorker, now: datetime) -> list[str]:
    def age(task: RunningTask) -> float:
        return 0.0 if task.since is None else _age(task.since, now)

    tasks = sorted(worker.tasks, key=age, reverse=True)
    lines = [f"  {worker.name} {seconds(age(task)):>8}  {task.task}" for task in tasks[:_SHOWN]]
    if len(tasks) > _SHOWN:
        lines.append(f"  {worker.name} and {len(tasks) - _SHOWN} more: airlane tasks")
    return lines


def _age(since: datetime, now: datetime) -> float:
    return max(0.0, (now - since).total_seconds())
