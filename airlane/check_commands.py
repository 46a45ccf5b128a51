"""Whether DAGs and queues.yaml fit together."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from airflow_config import check as checks
from airflow_config import queues as queue_model
from airflow_config.place import ROOT
from airlane.options import JsonFlag, QueuesFile
from airlane.output import console, errors, print_json


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(check)


def check(
    queues: QueuesFile = None,
    dags: Annotated[Path, typer.Option(help="Folder of DAG files.")] = ROOT / "dags",
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Parse although no file has changed.")
    ] = False,
    json: JsonFlag = False,
) -> None:
    """Check queues.yaml and every DAG against it; exit 1 when anything is wrong."""
    try:
        problems = checks.check_dags(dags, queue_model.load(queues), cache=not no_cache)
    except queue_model.QueuesError as error:
        problems = checks.queue_problems(error)
    wrong = any(problem.severity == "error" for problem in problems)
    if json:
        print_json([asdict(problem) for problem in problems])
    else:
        for problem in problems:
            errors.print(str(problem), markup=False, soft_wrap=True)
        if not wrong:
            console.print("queues.yaml and all DAGs are in order.")
    if wrong:
        raise typer.Exit(1)
