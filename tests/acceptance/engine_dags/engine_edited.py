"""A run that waits for a file in its first step, while somebody edits what comes after it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from airflow.sdk import chain, dag, task


@dag(schedule=None, catchup=False, params={"gate": ""})
def engine_edited() -> None:
    @task
    def first(params: Any = None) -> None:
        while not Path(params["gate"]).exists():
            time.sleep(0.05)

    @task
    def second() -> str:
        return "as it was"

    chain(first(), second())


engine_edited()
