"""Tasks that leave a line when they begin and one when they end: which, its try, below whom."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import psutil
from airflow.sdk import dag, get_current_context, task


@dag(schedule=None, catchup=False, params={"count": 1, "seconds": 0.1, "file": ""})
def engine_flood() -> None:
    @task(queue="batch")
    def numbers(params: Any = None) -> list[int]:
        return list(range(params["count"]))

    @task(queue="batch")
    def work(number: int, params: Any = None) -> None:
        context = get_current_context()
        line = {
            "run": context["run_id"],
            "number": number,
            "try": context["ti"].try_number,
            "parents": [process.pid for process in psutil.Process().parents()],
        }

        def say(what: str) -> None:
            # one write to the end of the file: lines of two processes never mix
            descriptor = os.open(Path(params["file"]), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            os.write(descriptor, (json.dumps({**line, "what": what}) + "\n").encode())
            os.close(descriptor)

        say("begin")
        time.sleep(params["seconds"])
        say("end")

    work.expand(number=numbers())


@dag(schedule=None, catchup=False, max_active_runs=50, params={"seconds": 0.1, "file": ""})
def engine_single() -> None:
    @task(queue="batch")
    def work(params: Any = None) -> None:
        descriptor = os.open(Path(params["file"]), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        line = {"run": get_current_context()["run_id"], "number": 0, "try": 1, "parents": []}
        for what in ("begin", "end"):
            os.write(descriptor, (json.dumps({**line, "what": what}) + "\n").encode())
        os.close(descriptor)

    work()


engine_flood()
engine_single()
