"""Trains the risk model from the book, in the background, once a week.

The first model is made by a run of this DAG too: until it has ended, onboarding has nothing to
decide with and says so.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

from airflow.sdk import CronTriggerTimetable, dag, task

from airflow_config import place, release
from dags.packs import model_store
from intake import applicants, database, model_registry, shared_models

log = logging.getLogger(__name__)


@dag(
    dag_id="train_risk_model",
    # Sundays at 03:00 UTC. Without a delta of zero, Airflow runs the past Sunday's training at
    # once when a fleet starts within a tenth of a week after it.
    schedule=CronTriggerTimetable("0 3 * * 0", timezone="UTC", run_immediately=timedelta(0)),
    catchup=False,
    max_active_runs=1,
    tags=["batch"],
    doc_md="""
Cross-validates (AUC and Brier score are in `train`'s log and XCom), stores a new version and
promotes it unless its AUC is worse than that of the version in use by more than 0.005.
""",
)
def train_risk_model() -> None:
    @task(queue="batch", multiple_outputs=False)
    def train() -> dict[str, Any]:
        from dags.packs import training  # noqa: PLC0415 - scikit-learn: 2 s

        engine = database.app_engine()
        trained = training.train(applicants.labelled(engine))
        folder = place.models_dir()
        description = {**trained.info, "release": release.current()}
        content, info = model_store.packed(trained.model, description)
        # this folder may hold versions of before all hosts shared them
        name = model_registry.add(engine, content, info, above=model_store.newest(folder))
        stored = model_store.adopt(folder, name, content, info)
        metrics = stored.info["metrics"]
        log.info(
            "%s: cross-validated AUC %.4f (+- %.4f over folds), KS %.4f, Brier score %.4f "
            "(%.4f without a model), from %d applicants, %d of whom defaulted",
            stored.name, metrics["auc"], metrics["auc_std"], metrics["ks"], metrics["brier"],
            metrics["brier_baseline"], stored.info["records"], stored.info["defaults"],
        )  # fmt: skip
        return {"version": stored.name, **metrics}

    @task(queue="batch", multiple_outputs=False)
    def promote(trained: dict[str, Any], dag_run: Any = None) -> dict[str, Any]:
        return shared_models.promote_unless_worse(
            database.app_engine(),
            place.models_dir(),
            trained["version"],
            model_store.adopt,
            model_store.promote,
            by=f"{dag_run.dag_id} {dag_run.run_id}",
        )

    promote(train())


train_risk_model()
