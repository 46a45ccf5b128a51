"""Runs DAGs to their end in a process of their own: `python dag_runs.py PLAN RESULT`.

Airflow reads its settings when it is imported, so a test with other settings needs another
process. The plan is a list of ``{"dag", "conf", "break"}``; the result, for each, is
``{"state", "tasks", "xcoms"}``. ``break`` names a step whose pack is to fail, and how.
"""

import json
import sys
from pathlib import Path

from dags import (
    airlane_replay,
    fraud_distributions,
    onboarding,
    rescore_portfolio,
    train_risk_model,
)

DAGS = {
    "onboarding": onboarding.onboarding,
    "train_risk_model": train_risk_model.train_risk_model,
    "fraud_distributions": fraud_distributions.fraud_distributions,
    "airlane_replay": airlane_replay.airlane_replay,
    "rescore_portfolio": rescore_portfolio.rescore_portfolio,
}
#: Step -> the name in dags/onboarding.py of the function that it calls.
CALLS = {"fraud": "compare", "bank_data": "check", "strategy": "decide", "set_entity_done": None}


def fail(message):
    def broken(*_args, **_kwargs):
        raise RuntimeError(message)

    return broken


def breaking(step, message):
    """Put a failing function in the place of a step's pack; return what undoes that."""
    if step is None:
        return lambda: None
    name, broken = CALLS[step], fail(message)
    if name is None:
        name, kept = "_record", onboarding._record

        def broken(dag_run, inputs=None, **decision):
            if decision["decision"] != "error":
                raise RuntimeError(message)
            return kept(dag_run, inputs, **decision)

    kept_function = getattr(onboarding, name)
    setattr(onboarding, name, broken)
    return lambda: setattr(onboarding, name, kept_function)


def run(plan):
    undo = breaking(*plan.get("break", (None, None)))
    try:
        dag = DAGS[plan["dag"]]()
        ended = dag.test(run_conf=plan.get("conf"), logical_date=None)
        found = ended.get_task_instances()
        return {
            "state": ended.state,
            "tasks": {ti.task_id: ti.state for ti in found if ti.map_index < 0},
            "mapped": sorted([ti.task_id, ti.state] for ti in found if ti.map_index >= 0),
            "xcoms": {
                task_id: ended_xcom(ended, task_id)
                for task_id in dag.task_ids
                if not dag.get_task(task_id).is_mapped
            },
        }
    finally:
        undo()


def ended_xcom(ended, task_id):
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session

    with create_session() as session:
        row = session.scalars(
            XComModel.get_many(
                run_id=ended.run_id, key="return_value", task_ids=task_id, dag_ids=ended.dag_id
            )
        ).first()
        return None if row is None else XComModel.deserialize_value(row)


if __name__ == "__main__":
    plans = json.loads(Path(sys.argv[1]).read_text())
    Path(sys.argv[2]).write_text(json.dumps([run(plan) for plan in plans], default=str))
