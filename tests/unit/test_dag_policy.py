"""How many runs and tasks of a DAG may be active."""

from datetime import UTC, datetime

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

from airflow_config import policies
from tests.unit.policy_tasks import FLEET


def a_dag(*queue_names, schedule=None, **words):
    with DAG("onboarding", schedule=schedule, **words) as dag:
        for index, name in enumerate(queue_names):
            BashOperator(task_id=f"t{index}", bash_command="true", queue=name)
    policies.apply_to_dag(dag, FLEET)
    return dag


def test_a_burst_may_run_where_people_wait():
    assert a_dag("onboarding", "batch").max_active_runs >= 500


def test_no_flood_of_runs_elsewhere():
    assert a_dag("batch").max_active_runs == 16
    assert a_dag("batch", max_active_runs=3).max_active_runs == 3
    assert a_dag("batch", max_active_runs=1_000).max_active_runs == 16
    assert a_dag("gone").max_active_runs == 16
    assert a_dag().max_active_runs == 16


def test_no_flood_of_tasks():
    def told(*names, **words):
        with DAG("onboarding", schedule=None, **words) as dag:
            for name in names:
                BashOperator(task_id=name, bash_command="true", queue=name)
        return dag, [str(cut) for cut in policies.apply_to_dag(dag, FLEET)]

    dag, cuts = told("batch")
    assert dag.max_active_tasks == 4, "the slots that batch has on all hosts"
    assert cuts == []
    dag, cuts = told("batch", max_active_tasks=2)
    assert (dag.max_active_tasks, cuts) == (2, [])
    dag, cuts = told("onboarding", "batch", max_active_tasks=999, max_active_runs=10**6)
    # batch lends to onboarding
    assert (dag.max_active_tasks, dag.max_active_runs) == (8 + 4 + 4, 512)
    assert cuts == [
        "DAG 'onboarding': max_active_runs: 1000000 was cut to 512 (active runs of onboarding)",
        "DAG 'onboarding': max_active_tasks: 999 was cut to 16 (slots of its queues on all hosts)",
    ]


def test_a_continuous_dag_keeps_its_one_run():
    dag = a_dag(
        "onboarding",
        schedule="@continuous",
        start_date=datetime(2024, 1, 1, tzinfo=UTC),
        max_active_runs=1,
    )
    assert dag.max_active_runs == 1
