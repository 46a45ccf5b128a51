"""The command `replay`: a decision is made again, with what it was made with."""

from __future__ import annotations

import secrets
from typing import Annotated, Any

import typer

from airlane.lone_task import LoneTask, or_no_answer
from airlane.options import JsonFlag
from airlane.output import console, decision_line, errors, print_json
from airlane.reach import reach
from intake import database, ledger
from intake.ledger import Decision, Inputs

_DAG, _TASK = "airlane_replay", "replay"


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(replay)


def replay(
    event: Annotated[str, typer.Argument(metavar="EVENT", help="As `decisions` shows it.")],
    timeout: Annotated[float, typer.Option(help="Seconds to wait.", min=1)] = 120,
    json: JsonFlag = False,
) -> None:
    """Make a decision again, with its record and versions; exit 1 when it comes out otherwise."""
    reached = reach()
    engine = database.engine(reached.app_db)
    # PostgreSQL's texts hold no NUL: no event has this id
    then = None if "\0" in event else ledger.find(engine, event)
    if then is None:
        errors.print(
            f"airlane: expected the id of a decided event, found {event!r}. "
            "Fix: airlane decisions lists them",
            markup=False,
            soft_wrap=True,
        )
        raise typer.Exit(2)
    inputs = ledger.inputs(engine, event)
    with (
        or_no_answer("expected a worker to make the decision again"),
        reached.airflow() as airflow,
    ):
        task = LoneTask(airflow, _DAG, _TASK, f"replay-{secrets.token_hex(4)}")
        found = task.run({"event_id": event}, timeout)
    if json:
        print_json({"event_id": event, **found, **_then(then, inputs)})
    else:
        _show(then, inputs, found)
    if not found["same"]:
        raise typer.Exit(1)


def _then(then: Decision, inputs: Inputs | None) -> dict[str, Any]:
    decided = then.to_json()
    return {
        "then": {key: decided[key] for key in ("decision", "score", "reasons", "model_version")},
        "versions": {kind: one["name"] for kind, one in inputs.versions.items()} if inputs else {},
        "release": inputs.release if inputs else None,
    }


def _show(then: Decision, inputs: Inputs | None, found: dict[str, Any]) -> None:
    versions = ", ".join(one["name"] for one in inputs.versions.values()) if inputs else "-"
    release = f"; release {inputs.release}" if inputs else ""
    said = {True: "the same again", False: "comes out otherwise", None: "cannot be made again"}
    lines = [
        f"then: {decision_line(then.to_json())}",
        f"made with: {versions}{release}",
    ]
    if found["now"] is not None:
        now = {**then.to_json(), **found["now"], "seconds": None}
        lines.append(f"now:  {decision_line(now)}")
    lines += [f"{said[found['same']]}{':' if found['why'] else ''}", *found["why"]]
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)
