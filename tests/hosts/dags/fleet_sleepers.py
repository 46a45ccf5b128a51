"""Batch work for the tests on hosts: tasks that take as long as the run's conf says."""

from __future__ import annotations

import time
from typing import Any

from airflow.sdk import dag, task


@dag(dag_id="fleet_sleepers", schedule=None, catchup=False)
def fleet_sleepers() -> None:
    @task(queue="batch")
    def lengths(dag_run: Any = None) -> list[float]:
        conf = dag_run.conf or {}
        return [float(conf.get("seconds", 30))] * int(conf.get("count", 6))

    @task(queue="batch")
    def sleep(seconds: float) -> None:
        print(f"sleeps for {seconds:g} s", flush=True)  # noqa: T201 - the task's log
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, 1))
        print(f"slept {seconds:g} s")  # noqa: T201 - the task's log

    sleep.expand(seconds=lengths())


fleet_sleepers()
