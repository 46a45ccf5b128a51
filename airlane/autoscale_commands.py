"""`airlane autoscale`: plan how many hosts each worker class should have, and ask for them.

It looks once and ends; a timer of systemd runs it every 15 seconds. It changes nothing itself: for
a class that needs a change it writes a request into a folder, `CLASS.out.json` for more hosts and
`CLASS.in.json` for those that leave, and a unit of that class and way carries it out by
`scale.yml`. So a drain that takes hours holds up no other class and no new host of its own, and
what reads the database holds no key to any host.

One plan at a time: the second of two would not know what the first has just asked for. Who runs a
plan that acts holds a lock in the folder of requests, from before it looks until it has asked.
"""

from __future__ import annotations

import fcntl
import json as json_format
import math
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import TypeAdapter, ValidationError
from rich.markup import escape
from rich.table import Table

from airflow_config import live_workers
from airflow_config.place import for_psycopg
from airlane import fleet_load
from airlane.options import JsonFlag
from airlane.output import console, errors, print_json
from airlane.reach import reach
from deploy.files import write_private
from deploy.fleet import host as fleet_host
from deploy.local.instance import existing
from workers.scaling import ClassPlan, Memory, Plan, plan
from workers.scaling_rules import Rules

#: Seconds for the registry of live workers to answer.
_TIMEOUT = 3.0
#: Seconds to boot beyond which a plan makes no sense: the load is another one by then.
_LONGEST_BOOT = 3_600.0
#: What is remembered from look to look, in the folder of requests.
_MEMORY = "memory.json"
#: Seconds after which a request that still holds is written again.
_AGAIN = 120.0
_MEMORIES = TypeAdapter(Memory)
#: Held by the plan that runs; it says in it who that is.
_LOCK = "lock"
#: Of requests: the user who runs the plays reads them by the group.
_MODE = 0o640


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(autoscale)


def autoscale(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what it would ask for, and ask for nothing.")
    ] = False,
    boot: Annotated[
        str,
        typer.Option(metavar="SECONDS", help="From asking for a host to its first task."),
    ] = f"{Rules().boot:g}",
    json: JsonFlag = False,
) -> None:
    """Plan how many hosts each class should have; ask for those missing, or to be drained."""
    rules = replace(Rules(), boot=_seconds("--boot", boot))
    if not dry_run and not fleet_host.is_one():
        errors.print(
            "airlane: expected a fleet, found a stack on one machine, whose workers are those of "
            "`local` in queues.yaml. Fix: --dry-run, or run it on a fleet's control host",
            soft_wrap=True,
        )
        raise typer.Exit(2)
    reached, folder = reach(), _folder()
    with nullcontext() if dry_run else alone(folder):
        with live_workers.connect(reached.broker, _TIMEOUT) as broker:
            database = for_psycopg(reached.metadata_db)
            load = fleet_load.read(database, broker, reached.fleet, rules)
        found = plan(reached.fleet, load, remembered(folder), rules)
        if not dry_run:
            request(folder, found)
    if json:
        print_json(_to_json(found))
    else:
        _show(found)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the lock of those who plan; end the command when another one has it.

    It is the kernel's lock on the open file: a plan that is killed leaves none behind.
    """
    folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    with (folder / _LOCK).open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            errors.print(
                "airlane: expected no other plan to run, found one "
                f"(process {file.read().strip() or 'unknown'}, {folder / _LOCK}). Fix: wait; "
                "systemctl stop airlane-autoscale.timer stops the plans of the timer; --dry-run "
                "needs no lock",
                markup=False,
                soft_wrap=True,
            )
            raise typer.Exit(1) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _seconds(option: str, text: str) -> float:
    """Return an option's seconds; end the command when it has none."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 1 <= value <= _LONGEST_BOOT:
        errors.print(
            f"airlane: expected {option} to be between 1 and {_LONGEST_BOOT:.0f} seconds, found "
            f"{text!r}. Fix: {option} {Rules().boot:g}, or as long as scale.yml takes to add a "
            "host; the timer has it from autoscale_boot_seconds",
            markup=False,
            soft_wrap=True,
        )
        raise typer.Exit(2)
    return value


def remembered(folder: Path) -> Memory | None:
    """Return what the last plan left behind; nothing when there is none or it can't be read.

    Then no host is taken away until a lull has been watched anew: that is safe.
    """
    try:
        return _MEMORIES.validate_json((folder / _MEMORY).read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        errors.print(f"airlane: {folder / _MEMORY} is made anew: {_first(error)}", markup=False)
        return None


def request(folder: Path, found: Plan) -> None:
    """Leave a request for each class that needs a change, and what to remember.

    A request is what `scale.yml` takes as extra variables. One that still holds is written again
    after `_AGAIN`: its unit was busy when it came, or its play failed. The memory is written last,
    so that what was never asked for is asked for again.
    """
    folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    for made in found.classes:
        for way, hosts_out in _ways(made).items():
            file = folder / f"{made.name}.{way}.json"
            words = {
                "class": made.name,
                "count": made.target,
                "way": way,
                "hosts_out": ",".join(hosts_out),
            }
            content = json_format.dumps(words)
            if not _asked_lately(file, content):
                write_private(file, content, mode=_MODE)
    write_private(folder / _MEMORY, _MEMORIES.dump_json(found.memory).decode(), mode=_MODE)


def _ways(made: ClassPlan) -> dict[str, list[str]]:
    """Return the ways in which a class is to change, each with the hosts that are on the way out.

    Those that leave, or drain already, are not counted by the play that adds hosts.
    """
    leaving = _machines(made.remove)
    found = {}
    if made.target > made.ready + made.booting:
        found["out"] = [*leaving, *_machines(made.draining)]
    if leaving:
        found["in"] = leaving
    return found


def _asked_lately(file: Path, content: str) -> bool:
    try:
        return (
            file.read_text(encoding="utf-8") == content
            and time.time() - file.stat().st_mtime < _AGAIN
        )
    except FileNotFoundError:
        return False


def _machines(names: Iterable[str]) -> list[str]:
    """Return of workers such as `batch@w3` the part that the inventory knows."""
    return [name.rpartition("@")[2] for name in names]


def _folder() -> Path:
    """Return where requests are left; on one machine's stack none ever is."""
    if fleet_host.is_one():
        return fleet_host.here().site.folders.state / "autoscale"
    return existing().run / "autoscale"


def _to_json(found: Plan) -> list[dict[str, Any]]:
    return [
        {
            **asdict(made),
            "remove": _machines(made.remove),
            "draining": _machines(made.draining),
            "change": made.change,
        }
        for made in found.classes
    ]


def _show(found: Plan) -> None:
    table = Table(box=None, padding=(0, 1))
    table.add_column("class")
    for column in ("ready", "coming", "slots", "hosts", "change"):
        table.add_column(column, justify="right")
    table.add_column("because", ratio=1)
    for made in found.classes:
        reasons = list(made.reasons)
        if made.remove:
            reasons.append(f"to drain: {', '.join(_machines(made.remove))}")
        table.add_row(
            made.name,
            str(made.ready),
            str(made.booting),
            f"{made.slots:.1f}",
            str(made.target),
            f"{made.change:+d}" if made.change else "-",
            escape("; ".join(reasons)),
        )
    console.print(table)


def _first(error: Exception) -> str:
    return str(error).partition("\n")[0]
