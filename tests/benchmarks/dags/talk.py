"""The talk's urgent DAG: 40 tasks, 1 to 6 wide, 12 deep, each sleeping 10 s +- 20 %."""

import os
import random
import time
from itertools import pairwise

import pendulum
from airflow.sdk import dag, task
from airflow.sdk.bases.operator import cross_downstream

QUEUE = os.environ.get("BENCH_QUEUE", "onboarding")
WIDTHS = (1, 2, 4, 6, 6, 5, 4, 4, 3, 2, 2, 1)


@dag(
    schedule=None,
    start_date=pendulum.datetime(2024, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=32,
)
def talk() -> None:
    @task(queue=QUEUE)
    def step() -> None:
        time.sleep(random.uniform(8, 12))

    layers = [
        [step.override(task_id=f"layer{depth:02}_{n}")() for n in range(width)]
        for depth, width in enumerate(WIDTHS)
    ]
    for before, after in pairwise(layers):
        cross_downstream(before, after)


talk()
