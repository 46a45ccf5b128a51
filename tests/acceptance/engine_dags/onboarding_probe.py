"""Four light urgent steps, one after the other."""

from __future__ import annotations

from airflow.sdk import chain, dag, task


@dag(schedule=None, catchup=False)
def onboarding_probe() -> None:
    @task(queue="onboarding")
    def step() -> None:
        """Do nothing."""

    chain(*(step.override(task_id=f"step{number}")() for number in range(4)))


onboarding_probe()
