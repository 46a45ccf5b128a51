"""A sign of life of one worker on one host, by the same way that all work takes."""

from __future__ import annotations

import importlib
import logging
from datetime import timedelta
from importlib.metadata import version
from typing import Any

from airflow.sdk import dag, task
from airflow.sdk.exceptions import AirflowFailException

from airflow_config import canary, place, queues
from intake import applicants, database, shared_models

log = logging.getLogger(__name__)


@dag(
    dag_id=canary.DAG_ID,
    schedule=None,
    catchup=False,
    # One that no worker takes must not stay for ever.
    dagrun_timeout=timedelta(minutes=15),
    tags=["airlane"],
    doc_md="""
Started by `airlane canary CLASS@HOST` (and so by an upgrade, for each host): one task that only
this worker can take, because the run's id names it.

It tells who ran it and which release, imports what the worker's class preloads, reads an applicant
with the worker's own login and lets every pack look at them, as a sign-up would. Nothing is
written. A run started by hand has another id, and any worker of the queue takes it.
""",
)
def airlane_canary() -> None:
    # No retry: a worker that fails once is looked at before it gets work.
    @task(task_id=canary.TASK_ID, queue="control", retries=0, multiple_outputs=False)
    def answer(dag_run: Any = None) -> dict[str, Any]:
        meant = canary.target_of_run(dag_run.dag_id, dag_run.run_id)
        node = canary.this_node()
        if meant is not None and node != meant.node:
            raise AirflowFailException(f"expected to run on {meant.node}, found {node}")
        wanted = (dag_run.conf or {}).get("release")
        release = version("airlane")
        if wanted and release != wanted:
            raise AirflowFailException(
                f"expected release {wanted} on {node}, found {release}. Fix: restart its unit; it "
                "was started before the link `current` was changed"
            )
        worker = queues.load().workers.get(node.partition("@")[0].partition("-")[0])
        for module in worker.preload if worker else ():
            importlib.import_module(module)
        return {"node": node, "release": release, "rehearsed": rehearse()}

    answer()


def rehearse() -> str:
    """Let every pack look at one applicant, without a decision; say what was tried."""
    from dags.packs import decision, model_store  # noqa: PLC0415 - other workers have no packs
    from dags.packs.applicant import parse  # noqa: PLC0415

    engine = database.app_engine()
    first = applicants.ids(engine)[0]
    person = parse(applicants.get(engine, first))
    models = shared_models.refresh(engine, place.models_dir(), model_store.adopt)
    try:
        verdict = decision.decide(person, decision.in_use(models))
    except model_store.NoModelError:
        return "applicants can be read; no model is promoted yet"
    return f"applicant {first}: {verdict['decision']}"


airlane_canary()
