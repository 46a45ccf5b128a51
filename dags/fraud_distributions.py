"""Makes anew what the pack `fraud` compares applicants with, in the background, once a week.

Until it has ended for the first time, fraud compares with what came with the risk model.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import CronTriggerTimetable, dag, task

from airflow_config import place, release
from dags.packs import book, distributions, fraud, model_store
from dags.packs.applicant import Applicant
from dags.packs.model_kinds import FRAUD
from intake import applicants, database, model_registry, shared_models


@dag(
    dag_id="fraud_distributions",
    # Sundays at 04:00 UTC, an hour after the training of the risk model.
    schedule=CronTriggerTimetable("0 4 * * 0", timezone="UTC", run_immediately=timedelta(0)),
    catchup=False,
    max_active_runs=1,
    tags=["batch"],
    doc_md="""
Counts how common each value of each feature is and which values hardly ever go together (`count`, a
task for each feature), judges that by records that it has not seen (`judge`, a task for each part
of the book), stores a new version and promotes it unless a person would have to look at more
applicants than with the version in use, by more than 5 of 100.
""",
)
def fraud_distributions() -> None:
    @task(
        queue="batch", multiple_outputs=False, map_index_template="{{ task.op_kwargs['feature'] }}"
    )
    def count(feature: str) -> dict[str, Any]:
        return {**fraud.distribution([applicant for applicant, _ in _examples()], feature)}

    @task(queue="batch", multiple_outputs=False)
    def judge(fold: int) -> dict[str, Any]:
        return {**distributions.judge([applicant for applicant, _ in _examples()], fold)}

    @task(queue="batch", multiple_outputs=False)
    def store(counted: Any, judged: Any) -> dict[str, Any]:
        # One request for all of them; going through a sequence would be one for each.
        made = distributions.make(_examples(), counted[:], judged[:])
        description = {**made.info, "release": release.current()}
        content, info = model_store.packed(made.reference, description, FRAUD)
        name = model_registry.add(database.app_engine(), content, info, kind=FRAUD.name)
        return {"version": name, **info["metrics"]}

    @task(queue="batch", multiple_outputs=False)
    def promote(stored: dict[str, Any], dag_run: Any = None) -> dict[str, Any]:
        return shared_models.promote_unless_worse(
            database.app_engine(),
            place.models_dir(),
            stored["version"],
            model_store.adopt,
            model_store.promote,
            by=f"{dag_run.dag_id} {dag_run.run_id}",
        )

    counted = count.expand(feature=list(fraud.FEATURES))
    judged = judge.expand(fold=list(range(distributions.FOLDS)))
    promote(store(counted, judged))


def _examples() -> list[tuple[Applicant, bool]]:
    return book.read(applicants.labelled(database.app_engine()))


fraud_distributions()
