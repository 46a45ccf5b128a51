"""Airflow's hooks: with which model, and in which parts they refuse."""

import pytest
from airflow.exceptions import AirflowClusterPolicyViolation
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

from airflow_config import policies
from tests.unit.policy_tasks import MODEL


@pytest.fixture
def process(monkeypatch, tmp_path):
    """A process that has not read the queue model yet."""
    path = tmp_path / "queues.yaml"
    path.write_text(MODEL)
    monkeypatch.setenv("AIRLANE_QUEUES", str(path))
    monkeypatch.delenv("AIRLANE_PART", raising=False)
    monkeypatch.delenv("AIRLANE_CHECK", raising=False)
    policies._load.cache_clear()
    yield path
    policies._load.cache_clear()


@pytest.mark.parametrize(
    ("name", "value", "refuses"),
    [
        ("AIRLANE_PART", "dag-processor", True),
        ("AIRLANE_CHECK", "1", True),
        ("AIRLANE_PART", "worker-batch", False),
        ("AIRLANE_PART", "scheduler", False),
        ("AIRLANE_CHECK", "", False),
    ],
)
def test_refuses_only_where_dags_are_taken_in(process, monkeypatch, name, value, refuses):
    monkeypatch.setenv(name, value)
    with DAG("rescore", schedule=None) as dag:
        step = BashOperator(task_id="step", bash_command="true", queue="gone")
    policies.dag_policy(dag)
    if refuses:
        with pytest.raises(AirflowClusterPolicyViolation):
            policies.task_policy(step)
    else:
        policies.task_policy(step)
        assert step.queue == "gone"


def test_the_model_is_read_once(process):
    with DAG("rescore", schedule=None):
        first = BashOperator(task_id="first", bash_command="true")
        second = BashOperator(task_id="second", bash_command="true")
    policies.task_policy(first)
    process.unlink()
    policies.task_policy(second)
    assert second.pool == "batch"


def test_a_model_that_cannot_be_used_stops_dags_but_not_work(process, monkeypatch):
    process.write_text("queues: 1\n")
    with DAG("rescore", schedule=None):
        step = BashOperator(task_id="step", bash_command="true")
    policies.task_policy(step)
    assert step.pool == "default_pool"
    monkeypatch.setenv("AIRLANE_PART", "dag-processor")
    with pytest.raises(AirflowClusterPolicyViolation, match=r"queues\.yaml:1: queues: expected a"):
        policies.task_policy(step)
