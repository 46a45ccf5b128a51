"""Commands about the databases: what they spend their time on."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from airlane.options import JsonFlag
from airlane.output import console, print_json, seconds
from deploy.local import statements
from deploy.local.instance import existing
from deploy.local.statements import Top

#: Characters of a statement in the table; `--full` and JSON have all of it.
_WIDTH = 100


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(no_args_is_help=True, help="What the databases spend their time on.")
    group.command()(top)
    group.callback()(_group)
    app.add_typer(group, name="db")


def _group() -> None:
    """Keep `top` a command of a group: a group of one command would become that command."""


def top(
    limit: Annotated[int, typer.Option(help="Statements to show.", min=1)] = 20,
    reset: Annotated[
        bool, typer.Option("--reset", help="Forget the statistics: they count from now on.")
    ] = False,
    full: Annotated[
        bool, typer.Option("--full", help="Show all of each statement, over as many lines.")
    ] = False,
    json: JsonFlag = False,
) -> None:
    """Show the statements that cost PostgreSQL most, and how often each task causes them."""
    instance = existing()
    if reset:
        since = statements.forget(instance).isoformat()
        if json:
            print_json({"since": since})
        else:
            console.print(f"The statistics count from {since} on.")
        return
    found = statements.top(instance, limit)
    if json:
        print_json(found.to_json())
    else:
        _show(found, full=full)


def _show(found: Top, *, full: bool) -> None:
    table = Table(box=None, padding=(0, 1))
    for column in ("total", "share", "mean", "calls", "rows", "calls/task", "ms/task"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("statement", ratio=1)
    show = on_one_line if full else shortened
    for line in found.statements:
        table.add_row(
            seconds(line.total_s),
            "-" if line.share is None else f"{line.share:.1%}",
            f"{line.mean_ms:.2f} ms",
            str(line.calls),
            str(line.rows),
            _number(line.calls_per_task),
            _number(line.ms_per_task),
            escape(f"{line.login}: {show(line.statement)}"),
        )
    console.print(table)
    console.print(f"Since {found.since.isoformat(timespec='seconds')}; {found.tasks} tasks ended.")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def shortened(statement: str) -> str:
    """Return a statement on one line: of a long list of columns only where it begins and ends."""
    text = on_one_line(statement)
    head, word, rest = text.partition(" FROM ")
    if word and len(head) > _WIDTH // 3:
        text = f"{head[: _WIDTH // 3]}… FROM {rest}"
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 1]}…"


def on_one_line(statement: str) -> str:
    """Return a statement without its line breaks and indents."""
    return " ".join(statement.split())
