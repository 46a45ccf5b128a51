"""The shape of our DAGs; tests/integration/test_onboarding_runs.py runs them."""

import json
import os
import subprocess
import sys

import pytest

from airflow_config.place import ROOT

#: Airflow makes its home folder when it is imported, so it is imported elsewhere.
DESCRIBE = """
import json, sys
from dags import fraud_distributions, onboarding, rescore_portfolio, train_risk_model
heavy = [name for name in ("sklearn", "joblib", "numpy") if name in sys.modules]
dags = [
    onboarding.onboarding(),
    rescore_portfolio.rescore_portfolio(),
    train_risk_model.train_risk_model(),
    fraud_distributions.fraud_distributions(),
]
def described(task):
    return {
        "queue": task.queue, "pool": task.pool, "weight": task.priority_weight,
        "retries": task.retries, "timeout": str(task.execution_timeout),
        "rule": task.trigger_rule.value, "up": sorted(task.upstream_task_ids),
        "mapped": task.is_mapped,
    }
json.dump({
    "heavy": heavy,
    "dags": {dag.dag_id: {
        "tasks": {task.task_id: described(task) for task in dag.tasks},
        "max_active_runs": dag.max_active_runs,
        "scheduled": dag.timetable.can_be_scheduled,
        "catchup": dag.catchup,
    } for dag in dags},
}, sys.stdout)
"""


@pytest.fixture(scope="module")
def described(tmp_path_factory):
    home = tmp_path_factory.mktemp("airflow")
    env = {name: value for name, value in os.environ.items() if "AIR" not in name}
    ended = subprocess.run(
        [sys.executable, "-c", DESCRIBE],
        cwd=ROOT,
        env=env | {"AIRFLOW_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    return json.loads(ended.stdout)


@pytest.fixture(scope="module")
def onboarding(described):
    return described["dags"]["onboarding"]["tasks"]


def test_no_dag_file_imports_what_is_slow_to_import(described):
    # Every task parses its DAG's file anew.
    assert described["heavy"] == []


@pytest.mark.parametrize(
    ("dag_id", "queue"),
    [
        ("onboarding", "onboarding"),
        ("rescore_portfolio", "batch"),
        ("train_risk_model", "batch"),
        ("fraud_distributions", "batch"),
    ],
)
def test_authors_name_the_queue_and_nothing_else(described, dag_id, queue):
    for task_id, task in described["dags"][dag_id]["tasks"].items():
        found = {name: task[name] for name in ("queue", "pool", "weight", "retries", "timeout")}
        assert found == {
            "queue": queue,
            "pool": "default_pool",
            "weight": 1,
            "retries": 0,
            "timeout": "None",
        }, f"{dag_id}.{task_id}: name the queue only, the rest follows from queues.yaml"


def test_a_sign_up_takes_five_steps_one_after_the_other(onboarding):
    def depth(task_id):
        return 1 + max((depth(up) for up in onboarding[task_id]["up"]), default=0)

    assert len(onboarding) == 9
    assert depth("set_entity_done") == 5


def test_the_packs_run_side_by_side(onboarding):
    packs = ["affordability", "bank_data", "credit_score", "fraud"]
    assert {tuple(onboarding[pack]["up"]) for pack in packs} == {("load_applicant",)}
    assert onboarding["strategy"]["up"] == packs
    assert onboarding["load_applicant"]["up"] == ["skip_or_decide"]


def test_every_failure_reaches_set_entity_error(onboarding):
    # `upstream_failed` travels down ALL_SUCCESS only, so every other step must have that rule and
    # be above the last one.
    rules = {task_id: task["rule"] for task_id, task in onboarding.items()}
    assert rules.pop("set_entity_error") == "one_failed"
    assert set(rules.values()) == {"all_success"}
    reached, waiting = set(), ["set_entity_error"]
    while waiting:
        up = set(onboarding[waiting.pop()]["up"])
        waiting += up - reached
        reached |= up
    assert reached == set(onboarding) - {"set_entity_error"}


def test_only_what_learns_is_scheduled_and_one_at_a_time(described):
    dags = described["dags"]
    scheduled = [dag_id for dag_id, dag in dags.items() if dag["scheduled"]]
    assert scheduled == ["train_risk_model", "fraud_distributions"]
    assert {dags[dag_id]["max_active_runs"] for dag_id in scheduled} == {1}
    assert not any(dag["catchup"] for dag in dags.values())
    assert dags["onboarding"]["max_active_runs"] >= 20


def test_distributions_are_made_in_parts(described):
    tasks = described["dags"]["fraud_distributions"]["tasks"]
    assert [task_id for task_id, task in tasks.items() if task["mapped"]] == ["count", "judge"]
    assert tasks["store"]["up"] == ["count", "judge"]


def test_rescoring_is_one_task_for_each_applicant(described):
    tasks = described["dags"]["rescore_portfolio"]["tasks"]
    assert [task_id for task_id, task in tasks.items() if task["mapped"]] == ["rescore"]
