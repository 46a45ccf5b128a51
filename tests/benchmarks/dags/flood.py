"""Batch work: as many tasks as the run's conf says, each of which sleeps as long as it says."""

import os
import time

import pendulum
from airflow.sdk import dag, task

QUEUE = os.environ.get("BENCH_QUEUE", "batch")


@dag(
    schedule=None,
    start_date=pendulum.datetime(2024, 1, 1, tz="UTC"),
    catchup=False,
    params={"tasks": 200, "seconds": 10.0},
)
def flood() -> None:
    @task(queue=QUEUE)
    def lengths(params: dict) -> list[float]:
        return [params["seconds"]] * params["tasks"]

    @task(queue=QUEUE)
    def work(seconds: float) -> None:
        time.sleep(seconds)

    work.expand(seconds=lengths())


flood()
