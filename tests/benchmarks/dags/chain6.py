"""Six trivial steps, one after the other."""

import os

import pendulum
from airflow.sdk import dag, task
from airflow.sdk.bases.operator import chain

# Stock Airflow has one queue; both stacks run the same file.
QUEUE = os.environ.get("BENCH_QUEUE", "onboarding")


@dag(schedule=None, start_date=pendulum.datetime(2024, 1, 1, tz="UTC"), catchup=False)
def chain6() -> None:
    @task(queue=QUEUE)
    def step() -> None:
        return None

    chain(*(step.override(task_id=f"step{n}")() for n in range(6)))


chain6()
