"""One step that needs heavy libraries, and does little with them."""

import os

import pendulum
from airflow.sdk import dag, task

QUEUE = os.environ.get("BENCH_QUEUE", "onboarding")


@dag(schedule=None, start_date=pendulum.datetime(2024, 1, 1, tz="UTC"), catchup=False)
def imports() -> None:
    @task(queue=QUEUE)
    def fit() -> float:
        import pandas
        from sklearn.linear_model import LogisticRegression

        frame = pandas.DataFrame({"a": range(100), "b": [n % 2 for n in range(100)]})
        return float(
            LogisticRegression().fit(frame[["a"]], frame["b"]).score(frame[["a"]], frame["b"])
        )

    fit()


imports()
