"""Commands about what follows from queues.yaml: explain it, print it."""

from __future__ import annotations

from json import dumps
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from airflow_config import queue_schema
from airflow_config import queues as queue_model
from airflow_config.derivation import Derived
from airflow_config.place import ROOT
from airflow_config.problems import expected_one_of
from airflow_config.queues import Fleet
from airlane.options import JsonFlag, QueuesFile
from airlane.output import console, print_json

Target = Annotated[
    str, typer.Argument(metavar="QUEUE|DAG|DAG.TASK", help="What is to be explained.")
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(explain)
    app.command()(render)


def explain(
    target: Target,
    dag: Annotated[
        bool, typer.Option("--dag", help="The DAG, where a queue has the same name.")
    ] = False,
    queues: QueuesFile = None,
    dags: Annotated[Path, typer.Option(help="Folder of DAG files.")] = ROOT / "dags",
    json: JsonFlag = False,
) -> None:
    """Say what was derived for a queue, a DAG or a task, and why, with the line in queues.yaml."""
    fleet = queue_model.load(queues)
    if target in fleet.queues and not dag:
        _explain_queue(fleet, target, json=json)
        return
    if not dags.is_dir():
        raise typer.BadParameter(
            f"expected a folder of DAGs, found none at {dags}", param_hint="--dags"
        )
    from airflow_config import check, explanation  # noqa: PLC0415 - not for a queue

    try:
        found = check.apart(explanation.parse, dags, fleet, target)
    except explanation.UnknownNameError as error:
        raise typer.BadParameter(str(error), param_hint="QUEUE|DAG|DAG.TASK") from None
    if json:
        print_json(found.to_json())
    else:
        _show_ruled(found)
    if found.refused:
        raise typer.Exit(1)


def _explain_queue(fleet: Fleet, name: str, *, json: bool) -> None:
    from airflow_config import explanation  # noqa: PLC0415

    found = explanation.of_queue(fleet, name)
    if json:
        where = fleet.source.where(("queues", name))
        values = [derived.to_json(fleet.source.where) for derived in found]
        print_json({"queue": name, "where": where, "values": values})
        return
    console.print(f"Queue {name}, {fleet.source.where(('queues', name))}", markup=False)
    _show(found, fleet)


def _show(found: list[Derived], fleet: Fleet) -> None:
    # escaped: patterns such as `night_[ab]*` are no markup
    table = Table(box=None, padding=(0, 1))
    for column in ("what", "value", "why", "where"):
        table.add_column(column, overflow="fold")
    for derived in found:
        places = [_line(fleet.source.where(key)) for key in derived.keys]
        shown = (derived.name, _text(derived.value), derived.why, ", ".join(dict.fromkeys(places)))
        table.add_row(*map(escape, shown))
    console.print(table)


def _line(where: str) -> str:
    """Return the last name and the line: all are of one file, which stands above."""
    file, _, line = where.rpartition(":")
    return f"{Path(file).name}:{line}"


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _show_ruled(found: Any) -> None:
    what = f"DAG {found.dag}" + (f", task {found.task}" if found.task else "")
    console.print(f"{what}, {found.file}", markup=False, soft_wrap=True)
    table = Table(box=None, padding=(0, 1))
    for column in ("what", "author", "holds", "state", "why", "where"):
        table.add_column(column, overflow="fold")
    for value in found.values:
        places = ", ".join(dict.fromkeys(map(_line, value.where)))
        author = "-" if value.author is None else str(value.author)
        shown = (value.name, author, str(value.value), value.state, value.why, places)
        table.add_row(*map(escape, shown))
    console.print(table)
    if found.refused:
        console.print(f"Refused: {found.refused}", markup=False, soft_wrap=True)


def render(
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[airflow|celery|pools|workers|flower|schema]...",
            help="All but the schema by default.",
        ),
    ] = None,
    queues: QueuesFile = None,
    json: JsonFlag = False,
) -> None:
    """Print what is derived from queues.yaml: settings, pools, worker command lines."""
    from airlane import derived  # noqa: PLC0415 - loads what the parts' command lines are made of

    wanted = list(dict.fromkeys(what or derived.SECTIONS))
    known = (*derived.SECTIONS, "schema")
    for name in wanted:
        if name not in known:
            raise typer.BadParameter(expected_one_of(known, name), param_hint="WHAT")
    if "schema" in wanted and len(wanted) > 1:
        raise typer.BadParameter("expected schema alone, found it with others", param_hint="WHAT")
    if wanted == ["schema"]:  # of every file, also of one that is wrong
        typer.echo(dumps(queue_schema.schema(), indent=None if json else 2))
        return
    fleet = queue_model.load(queues)
    made = {name: derived.SECTIONS[name](fleet) for name in wanted}
    if json:
        print_json({name: section.value for name, section in made.items()})
        return
    for number, (name, section) in enumerate(made.items()):
        if len(wanted) > 1:
            typer.echo(f"{chr(10) if number else ''}# {name}")
        typer.echo(section.text.rstrip("\n"))
