"""For many runs at once: a few tasks in each, all known when the run is made."""

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
def long_runs() -> None:
    @task(queue=QUEUE)
    def work(seconds: float) -> None:
        time.sleep(seconds)

    work.expand(seconds=[10.0] * 8)


long_runs()
