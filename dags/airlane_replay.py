"""Makes a decision again on a worker, with the very versions and record that it was made with.

On a worker, because a risk model is a pickle: to load it runs code, and whoever may add versions
must not thereby run code with an operator's rights. `airlane replay EVENT` starts it.
"""

from __future__ import annotations

import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import dag, task
from airflow.sdk.exceptions import AirflowFailException

from airflow_config import release
from intake import applicants, database, ledger, model_registry, shared_models


@dag(
    dag_id="airlane_replay",
    schedule=None,
    catchup=False,
    # One that no worker takes must not stay for ever.
    dagrun_timeout=timedelta(minutes=15),
    tags=["airlane"],
    doc_md="""
Started by `airlane replay EVENT`: makes the decision about an event again from what was kept with
it, and returns whether it comes out the same, or why not. Nothing is written.
""",
)
def airlane_replay() -> None:
    @task(queue="control", retries=0, multiple_outputs=False)
    def replay(dag_run: Any = None) -> dict[str, Any]:
        event_id = (dag_run.conf or {}).get("event_id")
        engine = database.app_engine()
        then = ledger.find(engine, str(event_id))
        if then is None:
            raise AirflowFailException(
                f"expected conf {{'event_id': ...}} of a decided event, found {dag_run.conf!r}"
            )
        return {**made_again(engine, then)}

    replay()


def made_again(engine: Any, then: ledger.Decision) -> dict[str, Any]:
    """Return what `dags.packs.replay` says about a decision."""
    from dags.packs import decision, model_store  # noqa: PLC0415 - other workers have no packs
    from dags.packs import replay as replays  # noqa: PLC0415
    from dags.packs.applicant import used  # noqa: PLC0415

    inputs = ledger.inputs(engine, then.event_id)
    if inputs is None:
        why = "nothing was computed" if then.decision == "error" else "it was not kept"
        return {**replays.impossible(f"what it was made from is not there: {why}")}
    with tempfile.TemporaryDirectory(prefix="airlane-replay-") as name:
        folder = Path(name)
        try:
            for one in inputs.versions.values():
                shared_models.fetch(
                    engine, folder, one["name"], model_store.adopt, sha256=one["sha256"]
                )
            basis = decision.of(folder, inputs.versions)
        except (model_registry.RegistryError, model_store.ModelStoreError) as error:
            return {**replays.impossible(f"a version that it was made with is gone: {error}")}
        found = replays.again(
            then.to_json(),
            inputs.record,
            basis,
            made_with={
                "release": inputs.release,
                "packs_sha256": inputs.packs_sha256,
                "scikit_learn": inputs.scikit_learn,
            },
            release=release.current(),
        )
    try:
        present = used(applicants.get(engine, int(then.entity_id)))
    except (applicants.UnknownApplicantError, ValueError, KeyError):
        found["why"].append("the applicant is no longer in the book, or cannot be read now")
    else:
        found["why"] += replays.changed_record(inputs.record, present)
    return {**found}


airlane_replay()
