"""The DAG that listens for sign-ups; the work is in `intake.listener`."""

from __future__ import annotations

import pendulum
from airflow.sdk import DAG

from intake.trigger import LISTENER_DAG, SignupListenerOperator

with DAG(
    LISTENER_DAG,
    schedule="@continuous",
    start_date=pendulum.datetime(2024, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    tags=["airlane"],
    doc_md="""\
### Sign-ups in, runs out

Reads the stream `signups` and creates one run of `onboarding` for each event. It runs for ever in
the triggerer, takes no worker slot, and starts anew every hour (its log file is kept open while it
runs).

**Pause this DAG to stop the intake** (within 10 s; what is in flight is finished, what comes later
waits in the stream) and unpause it to go on.
""",
) as dag:
    SignupListenerOperator(
        task_id="listen",
        queue="control",
        execution_timeout=None,
        retries=0,
    )
