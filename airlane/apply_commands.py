"""Commands that put a changed queues.yaml to use on the running stack: diff, apply."""

from __future__ import annotations

import typer

from airflow_config import queues as queue_model
from airflow_config.place import queues_file
from airlane.options import JsonFlag, QueuesFile
from airlane.output import console, errors, print_json, print_progress
from deploy.local import application, changes
from deploy.local.changes import Changes, PartChange
from deploy.local.instance import existing


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(diff)
    app.command()(apply)


def diff(queues: QueuesFile = None, json: JsonFlag = False) -> None:
    """Show what queues.yaml would change on the running stack; exit 1 when anything."""
    instance = existing()
    fleet = queue_model.load(queues or queues_file())
    found = changes.compare(instance, changes.running(instance), fleet)
    if json:
        print_json(found.to_json())
    else:
        _show(found)
    if found:
        raise typer.Exit(1)


def apply() -> None:
    """Put queues.yaml to use on the running stack; no task is lost, only what must restarts."""
    instance = existing()
    try:
        changed = application.apply(instance, print_progress)
    except KeyboardInterrupt:
        errors.print(
            "airlane: interrupted. What was done stays; a worker that was being drained is at "
            "work again. airlane diff says what is left, airlane apply goes on with it.",
            soft_wrap=True,
        )
        raise typer.Exit(130) from None
    console.print("queues.yaml is in use." if changed else "queues.yaml was in use already.")


def _show(found: Changes) -> None:
    if not found:
        console.print("Nothing would change.")
        return
    if found.settings:
        console.print("Settings:")
    for setting in found.settings:
        values = f"{setting.before or 'nothing'} -> {setting.after or 'nothing'}"
        print_progress(f"{setting.file} {setting.name}: {values}")
    if found.pools:
        console.print("Pools:")
    for pool in found.pools:
        slots = [str(count) for count in (pool.before, pool.after) if count is not None]
        print_progress(f"{pool.name}: {' -> '.join(slots)} slots; {pool.what}")
    if found.parts:
        console.print("Parts:")
    for part in found.parts:
        print_progress(_part(part))
    going_on = ", ".join(found.unchanged) or "none"
    console.print(f"These go on as they are: {going_on}.", markup=False, soft_wrap=True)


def _part(change: PartChange) -> str:
    awaited = ""
    if change.drain_limit_s is not None:
        awaited = f" once its tasks have ended, within {change.drain_limit_s} s"
    return f"{change.name}: {change.action}{awaited}. {'; '.join(change.why)}"
