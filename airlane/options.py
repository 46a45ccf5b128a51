"""Options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

QueuesFile = Annotated[
    Path | None,
    typer.Option("--queues", metavar="FILE", help="Another queues.yaml than the one in use."),
]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
