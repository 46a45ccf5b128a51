"""Commands about queues: what waits in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from airlane import live_view
from airlane.live_view import Seconds, WatchFlag
from airlane.model_in_use import ModelInUse
from airlane.options import JsonFlag
from airlane.output import seconds
from airlane.reach import reach

if TYPE_CHECKING:
    from airlane.queue_state import QueueState

#: Share of the cases that a promise is for.
PROMISED = 0.95
#: Seconds in which the broker answers.
_TIMEOUT = 5.0
#: What a part of a promise counts, up to its limit.
_CASES = {"end_to_end": "decided within", "task": "tasks within", "gap": "gaps within"}


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(queues)


def queues(every: Seconds = None, watch: WatchFlag = False, json: JsonFlag = False) -> None:
    """Show what waits and runs in each queue, and what is kept of its promise."""
    pause = live_view.interval(watch, every)
    # they load the clients of the servers
    from airflow_config import live_workers  # noqa: PLC0415
    from airlane.queue_history import Historian  # noqa: PLC0415
    from airlane.queue_state import queue_states  # noqa: PLC0415

    reached = reach()
    model = ModelInUse(reached)
    history = Historian(reached.metadata_db, reached.app_db)
    try:
        with live_workers.connect(reached.broker, _TIMEOUT) as broker:

            def look() -> list[QueueState]:
                fleet = model.now()
                return queue_states(fleet, broker, history.look(fleet))

            live_view.show(
                look,
                view,
                lambda found: [state.to_json() for state in found],
                every=pause,
                json=json,
            )
    finally:
        history.close()


def view(found: list[QueueState]) -> RenderableType:
    """Return the table that people see."""
    table = Table(box=None, padding=(0, 1))
    table.add_column("queue")
    columns = ("priority", "scheduled", "waiting", "oldest", "running", "slots", "workers")
    for column in (*columns, "in/min", "out/min"):
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
            f"{state.arrivals_per_minute:g}",
            f"{state.completions_per_minute:g}",
        )
    return Group(table, *(_promise(state) for state in found if state.kept))


def _promise(state: QueueState) -> Text:
    """Say what was kept of a queue's promise; red where it was less than promised."""
    line = Text(f"{state.name}, last hour:")
    for name, kept in (state.kept or {}).items():
        limit = seconds((state.promise or {})[name])
        share = kept["share"]
        said = "none" if share is None else f"{kept['kept']} of {kept['count']} ({share:.1%})"
        broken = share is not None and share < PROMISED
        line.append(f"  {_CASES[name]} {limit}: {said}", style="red" if broken else "")
    return line
