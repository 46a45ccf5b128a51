"""What the policy refuses in a task, and with which words."""

import re
from functools import partial

import pytest
from airflow.exceptions import AirflowClusterPolicyViolation
from airflow.providers.standard.sensors.date_time import DateTimeSensorAsync
from airflow.providers.standard.sensors.filesystem import FileSensor
from airflow.sdk import DAG, BaseSensorOperator, task

from airflow_config import policies
from tests.unit.policy_tasks import FLEET, KINDS, applied


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def make(request):
    """Makes a task of each kind, with the policy applied."""
    return partial(applied, request.param)


def without_line(error):
    """Return what follows the place in a message that names file and line of the DAG."""
    found = re.fullmatch(r"(?:policy_tasks|test_policy_refusals)\.py:\d+: (.*)", str(error))
    assert found, error
    return found[1]


def test_refuses_an_unknown_queue(make):
    with pytest.raises(AirflowClusterPolicyViolation) as caught:
        make(queue="onbording")
    assert without_line(caught.value) == (
        "DAG 'onboarding', task 'step': queue: expected one of batch, control, "
        "onboarding, found 'onbording'; did you mean 'onboarding'? (no queue at all means batch)"
    )


def test_refuses_a_dag_on_a_queue_that_is_for_others(make):
    with pytest.raises(AirflowClusterPolicyViolation) as caught:
        make(dag_id="airlane_canary", queue="onboarding")
    assert without_line(caught.value) == (
        "DAG 'airlane_canary', task 'step': queue: expected one that this DAG "
        "may use (control, batch), found 'onboarding', which is for onboarding*. Name another "
        "queue, or add the DAG to queues.onboarding.allowed_dags in queues.yaml."
    )


def test_refuses_a_pool_of_the_author_s_own(make):
    with pytest.raises(AirflowClusterPolicyViolation, match=r"pool: expected none.* found 'mine'"):
        make(pool="mine")
    assert make(pool="batch").pool == "batch"


class Door(BaseSensorOperator):
    def poke(self, _context):
        return True


def poking(**words):
    return Door(task_id="step", **words)


def mapped_poking(**words):
    return Door.partial(task_id="step", **words).expand(timeout=[1, 2])


def decorated_poking(**words):
    @task.sensor(task_id="step", **words)
    def step(): ...

    return step().operator


@pytest.mark.parametrize("sensor", [poking, mapped_poking, decorated_poking])
def test_a_sensor_on_an_urgent_queue_holds_no_slot_while_it_waits(sensor):
    with DAG("onboarding", schedule=None):
        step = sensor(queue="onboarding")
    with pytest.raises(AirflowClusterPolicyViolation) as caught:
        policies.apply_to_task(step, FLEET, refuse=True)
    assert without_line(caught.value) == (
        "DAG 'onboarding', task 'step': mode: expected a sensor on onboarding to "
        "hold no slot while it waits, found mode='poke'. Set deferrable=True, or "
        "mode='reschedule'; or name another queue."
    )
    for good in ({"queue": "onboarding", "mode": "reschedule"}, {"queue": "batch"}):
        with DAG("onboarding", schedule=None):
            step = sensor(**good)
        policies.apply_to_task(step, FLEET, refuse=True)


def test_a_time_limit_of_a_mapped_task_must_be_a_duration():
    with DAG("onboarding", schedule=None):

        @task(queue="onboarding", execution_timeout=30)
        def step(number): ...

        mapped = step.expand(number=[1, 2]).operator
    with pytest.raises(AirflowClusterPolicyViolation) as caught:
        policies.apply_to_task(mapped, FLEET, refuse=True)
    assert without_line(caught.value) == (
        "DAG 'onboarding', task 'step': execution_timeout: expected a duration, found 30. Write "
        "timedelta(seconds=...)."
    )
    # where DAGs are not taken in, what is not known is left alone
    assert policies.apply_to_task(mapped, FLEET, refuse=False) == []


def test_a_deferrable_sensor_is_welcome():
    with DAG("onboarding", schedule=None):
        waits = DateTimeSensorAsync(
            task_id="a", queue="onboarding", target_time="2030-01-01T00:00:00"
        )
        may_defer = FileSensor(task_id="b", queue="onboarding", filepath="x", deferrable=True)
        mapped = FileSensor.partial(task_id="c", queue="onboarding", deferrable=True).expand(
            filepath=["x", "y"]
        )
    for step in (waits, may_defer, mapped):
        policies.apply_to_task(step, FLEET, refuse=True)
    with DAG("onboarding", schedule=None):
        pokes = FileSensor(task_id="b", queue="onboarding", filepath="x")
    with pytest.raises(AirflowClusterPolicyViolation, match="mode='poke'"):
        policies.apply_to_task(pokes, FLEET, refuse=True)
