"""The command `status`: the parts of a stack, or of this host of a fleet."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from airlane import live_view
from airlane.live_view import Seconds, WatchFlag
from airlane.options import JsonFlag
from airlane.output import seconds
from deploy.fleet import host as fleet_host

if TYPE_CHECKING:
    from deploy.local.status import Status


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(status)


def status(every: Seconds = None, watch: WatchFlag = False, json: JsonFlag = False) -> None:
    """Show every part of the stack, or of this host of a fleet; exit 1 when one is down."""
    pause = live_view.interval(watch, every)
    found = live_view.show(_look, view, lambda seen: seen.to_json(), every=pause, json=json)
    if not found.healthy:
        raise typer.Exit(1)


def _look() -> Status:
    # each of no use where the other is
    if fleet_host.is_one():
        from deploy.fleet.status import status as ask_host  # noqa: PLC0415

        return ask_host(fleet_host.here())
    from deploy.local.instance import existing  # noqa: PLC0415
    from deploy.local.status import status as ask_stack  # noqa: PLC0415

    return ask_stack(existing())


def view(found: Status) -> RenderableType:
    """Return the table that people see, and what it means."""
    table = Table(box=None, padding=(0, 1))
    for column in ("part", "state", "pid", "restarts", "for", "address"):
        table.add_column(column, no_wrap=True)
    for part in found.parts:
        colour = "green" if part.state == "running" else "red"
        table.add_row(
            part.name,
            f"[{colour}]{part.state}[/]",
            str(part.pid or "-"),
            str(part.restarts),
            _age(part.since),
            part.url or "",
        )
    lines = [
        f"queue {queue}: no live worker consumes it, its tasks wait"
        for queue in found.unserved or ()
    ]
    return Group(table, *map(Text, (*lines, _meaning(found))))


def _meaning(found: Status) -> str:
    fleet = fleet_host.is_one()
    if found.healthy:
        return "every part runs" if found.unserved or fleet else "healthy"
    if fleet:
        return "not healthy: journalctl -u airlane-PART shows why"
    if all(part.pid is None for part in found.parts):
        return "stopped. Start it: make up, or .venv/bin/airlane up"
    if any(part.state == "unsupervised" for part in found.parts):
        return "not healthy: nothing restarts these parts. Fix: airlane down, airlane up"
    return "not healthy: airlane logs PART shows why"


def _age(since: str | None) -> str:
    if since is None:
        return "-"
    return seconds((datetime.now(UTC) - datetime.fromisoformat(since)).total_seconds())
