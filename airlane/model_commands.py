"""Commands about versions of the risk model and of fraud's distributions."""

from __future__ import annotations

import getpass
import os
import socket
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from airflow_config.problems import expected_one_of
from airlane.options import JsonFlag
from airlane.output import console, print_json
from airlane.reach import reach
from intake import database, model_registry
from intake.model_registry import Stored
from intake.shared_models import AGE

#: Kind -> the columns of its metrics: key, heading.
_METRICS = {
    "risk": (("auc", "AUC"), ("ks", "KS"), ("brier", "Brier")),
    "fraud": (("bits", "bits"), ("doubted", "doubted")),
}

Why = Annotated[str, typer.Option("--reason", metavar="WHY", help="Why, for the record.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(
        no_args_is_help=True,
        help="Versions of the risk model and of fraud's distributions: which are there and in use.",
    )
    group.command(name="list")(list_versions)
    group.command()(promote)
    group.command()(rollback)
    app.add_typer(group, name="model")


def list_versions(
    kind: Annotated[
        str | None, typer.Argument(metavar="[KIND]", help="risk or fraud; both by default.")
    ] = None,
    json: JsonFlag = False,
) -> None:
    """List all versions, oldest first: metrics, what they were made from, who promoted them."""
    kinds = list(model_registry.TABLES) if kind is None else [_known(kind)]
    found = model_registry.versions(database.engine(reach().app_db), kinds)
    if json:
        print_json([version.to_json() for version in found])
        return
    for one in kinds:
        of_kind = [version for version in found if version.kind == one]
        if of_kind:
            console.print(_table(one, of_kind))
            console.print("* in use", markup=False)
        else:
            console.print(f"No version of {one} yet.")


def _table(kind: str, versions: list[Stored]) -> Table:
    table = Table(box=None, padding=(0, 1))
    table.add_column(kind, no_wrap=True)
    metrics = _METRICS[kind]
    for _, heading in metrics:
        table.add_column(heading, justify="right")
    for heading in ("rows", "features"):
        table.add_column(heading, justify="right")
    for heading in ("stored", "release", "data", "put to use"):
        table.add_column(heading, no_wrap=heading != "put to use")
    for version in versions:
        info = version.info
        found = info.get("metrics", {})
        features = info.get("features")
        table.add_row(
            f"{version.version}{' *' if version.in_use else ''}",
            *(f"{found[key]:.4f}" if key in found else "-" for key, _ in metrics),
            str(info.get("records", "-")),
            "-" if features is None else str(len(features)),
            f"{version.stored_at:%Y-%m-%d %H:%M}",
            escape(str(info.get("release", "-"))),
            str(info.get("data_sha256", "-"))[:8],
            escape(_last_use(version)),
        )
    return table


def _last_use(version: Stored) -> str:
    if not version.promotions:
        return "never"
    last = version.promotions[-1]
    by = f" by {last.by}" if last.by else ""
    how = " again (rollback)" if last.action == "rollback" else ""
    return f"{last.at:%Y-%m-%d %H:%M}{how}{by}{': ' if last.reason else ''}{last.reason}"


def promote(
    version: Annotated[str, typer.Argument(metavar="VERSION", help="Such as risk-7.")],
    reason: Why,
    json: JsonFlag = False,
) -> None:
    """Put a version to use on all hosts, whatever its metrics; exit 1 when it cannot be."""
    engine = database.engine(reach().app_db)
    changed = model_registry.promote(engine, version, by=_who(), reason=_said(reason))
    if json:
        print_json({"version": version, "changed": changed})
    elif changed:
        console.print(f"{version} is in use; workers have it within {AGE:g} s.", markup=False)
    else:
        console.print(f"{version} is in use already; nothing is changed.", markup=False)


def rollback(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="risk or fraud.")],
    reason: Why,
    json: JsonFlag = False,
) -> None:
    """Put the version to use again that was in use before this one; exit 1 when none was."""
    engine = database.engine(reach().app_db)
    left, now = model_registry.rollback(engine, _known(kind), by=_who(), reason=_said(reason))
    if json:
        print_json({"version": now, "before": left})
    else:
        console.print(
            f"{now} is in use again instead of {left}; workers have it within {AGE:g} s.",
            markup=False,
        )


def _known(kind: str) -> str:
    if kind not in model_registry.TABLES:
        raise typer.BadParameter(expected_one_of(model_registry.TABLES, kind), param_hint="KIND")
    return kind


def _said(reason: str) -> str:
    if not reason.strip():
        raise typer.BadParameter("expected a few words, found none", param_hint="--reason")
    return reason.strip()


def _who() -> str:
    """Return who this is; behind sudo the person, not root."""
    return f"{os.environ.get('SUDO_USER') or getpass.getuser()}@{socket.gethostname()}"
