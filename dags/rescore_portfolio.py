"""Scores the book anew with the promoted model, one task for each applicant: a flood by design.

Nothing is decided here and nothing is written to the ledger; the summary is the result.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import Param, dag, task

from airflow_config import place
from dags.packs import applicant, drift, model_store
from intake import applicants, database, shared_models

#: Applicants of one run; Airflow refuses to map over more than 1,024 (`max_map_length`).
PAGE = 1000


@dag(
    dag_id="rescore_portfolio",
    schedule=None,
    catchup=False,
    tags=["batch"],
    params={
        "first": Param(1, type="integer", minimum=1, description="first applicant, counted"),
        "count": Param(PAGE, type="integer", minimum=1, maximum=PAGE, description="how many"),
    },
    doc_md="""
Scores up to 1,000 applicants from the `first` on; a bigger book is scored page by page, a run
each. `summary` returns how many scores there are, how they are spread and how far they have
drifted from those at training (population stability index).
""",
)
def rescore_portfolio() -> None:
    @task(queue="batch")
    def page(params: Any = None) -> list[int]:
        ids = applicants.ids(database.app_engine())
        first, count = params["first"], params["count"]
        found = ids[first - 1 : first - 1 + count]
        if not found:
            raise ValueError(f"expected applicants from number {first} on, found {len(ids)} in all")
        return found

    @task(
        queue="batch",
        multiple_outputs=False,
        map_index_template="applicant {{ task.op_kwargs['entity_id'] }}",
    )
    def rescore(entity_id: int) -> dict[str, Any]:
        from dags.packs.credit_score import score  # noqa: PLC0415 - scikit-learn: 2 s

        engine = database.app_engine()
        models = shared_models.refresh(engine, place.models_dir(), model_store.adopt)
        found = score(applicant.parse(applicants.get(engine, entity_id)), models)
        return {"score": found["score"], "model_version": found["model_version"]}

    @task(queue="batch", multiple_outputs=False)
    def summary(scored: Any) -> dict[str, Any]:
        # One request for all of them; going through the sequence would be one for each.
        engine = database.app_engine()
        models = shared_models.refresh(engine, place.models_dir(), model_store.adopt)
        reference = model_store.promoted(models).info["reference"]
        return drift.summarize(scored[:], reference["score_edges"])

    summary(rescore.expand(entity_id=page()))


rescore_portfolio()
