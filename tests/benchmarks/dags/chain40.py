"""Forty light steps, one after the other: the work of windmill-labs/windmill-benchmarks."""

import os

import pendulum
from airflow.sdk import dag, task
from airflow.sdk.bases.operator import chain

QUEUE = os.environ.get("BENCH_QUEUE", "onboarding")


def fibo(n: int) -> int:
    """Compute a Fibonacci number the slow way."""
    return n if n < 2 else fibo(n - 1) + fibo(n - 2)


@dag(schedule=None, start_date=pendulum.datetime(2024, 1, 1, tz="UTC"), catchup=False)
def chain40() -> None:
    @task(queue=QUEUE)
    def step() -> int:
        return fibo(10)

    chain(*(step.override(task_id=f"step{n}")() for n in range(40)))


chain40()
