"""A backlog: a thousand tasks in each run, all known when the run is made."""

import os
import time

import pendulum
from airflow.sdk import dag, task

QUEUE = os.environ.get("BENCH_QUEUE", "batch")


@dag(
    schedule=None,
    start_date=pendulum.datetime(2024, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1100,
)
def backlog() -> None:
    @task(queue=QUEUE)
    def work(seconds: float) -> None:
        time.sleep(seconds)

    work.expand(seconds=[10.0] * 1000)


backlog()
