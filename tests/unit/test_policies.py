# Airflow reads it when it is imported.

import re
from datetime import UTC, datetime, timedelta

import pytest
from airflow.exceptions import AirflowClusterPolicyViolation
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.sensors.date_time import DateTimeSensorAsync
from airflow.providers.standard.sensors.filesystem import FileSensor
from airflow.sdk import (
    DAG,
    BaseOperator,
    BaseSensorOperator,
    setup,
    task,
    task_group,
    teardown,
)
from hypothesis import given
from hypothesis import strategies as st

from airflow_config import policies, queues

MODEL = """\
queues:
  onboarding:
    priority: 100
    promise: {end_to_end: 3m, task: 1m, gap: 3s}
    task_timeout: 1m
    retries: {count: 4, delay: 1s, max_delay: 10s}
    allowed_dags: ["onboarding*"]
  control: {priority: 50, task_timeout: 5m, allowed_dags: ["airlane_*", onboarding]}
  batch: {priority: 1, default: true, task_timeout: 6h, retries: {count: 2, delay: 20s}}
workers:
  onboarding: {home: onboarding, concurrency: 8}
  control: {home: control, concurrency: 2}
  batch: {home: batch, lends_to: [onboarding], concurrency: 4}
"""
FLEET = queues.read(MODEL)


class Listener(BaseOperator):
    start_from_trigger = True


def classic(**words):
    return BashOperator(task_id="step", bash_command="true", **words)


def mapped_classic(**words):
    return BashOperator.partial(task_id="step", **words).expand(bash_command=["true", "false"])


def decorated(**words):
    @task(task_id="step", **words)
    def step(): ...

    return step().operator


def mapped_decorated(**words):
    @task(task_id="step", **words)
    def step(x): ...

    return step.expand(x=[1, 2]).operator


KINDS = [classic, mapped_classic, decorated, mapped_decorated]


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def make(request):
    """A task of each kind, in a DAG, with the policy applied."""

    def build(dag_id="onboarding", refuse=True, **words):
        with DAG(dag_id, schedule=None):
            step = request.param(**words)
        policies.apply_to_task(step, FLEET, refuse=refuse)
        return step

    return build


def facts(step):
    return {
        name: getattr(step, name)
        for name in (
            "queue",
            "pool",
            "priority_weight",
            "weight_rule",
            "retries",
            "retry_delay",
            "max_retry_delay",
            "retry_exponential_backoff",
            "execution_timeout",
        )
    }


def test_fills_what_the_queue_says(make):
    assert facts(make(queue="onboarding")) == {
        "queue": "onboarding",
        "pool": "onboarding",
        "priority_weight": 100_001,
        "weight_rule": "absolute",
        "retries": 4,
        "retry_delay": timedelta(seconds=1),
        "max_retry_delay": timedelta(seconds=10),
        "retry_exponential_backoff": 2.0,
        "execution_timeout": timedelta(minutes=1),
    }


def test_a_task_without_a_queue_is_on_the_default_one(make):
    step = make(dag_id="anything")
    assert (step.queue, step.pool, step.retries) == ("batch", "batch", 2)
    assert step.execution_timeout == timedelta(hours=6)
    assert step.priority_weight == 1_001


def test_applying_it_again_changes_nothing(make):
    step = make(queue="onboarding", priority_weight=5, retries=7)
    before = facts(step)
    policies.apply_to_task(step, FLEET, refuse=True)
    assert facts(step) == before


def test_keeps_what_the_author_set(make):
    step = make(
        queue="onboarding",
        priority_weight=50,
        retries=9,
        retry_delay=timedelta(seconds=2),
        max_retry_delay=timedelta(seconds=3),
        retry_exponential_backoff=3.0,
        execution_timeout=timedelta(seconds=5),
        weight_rule="upstream",
    )
    assert facts(step) == {
        "queue": "onboarding",
        "pool": "onboarding",
        "priority_weight": 100_050,
        "weight_rule": "absolute",
        "retries": 9,
        "retry_delay": timedelta(seconds=2),
        "max_retry_delay": timedelta(seconds=3),
        "retry_exponential_backoff": 3.0,
        "execution_timeout": timedelta(seconds=5),
    }


def test_but_only_within_the_queue_s_limits(make):
    step = make(
        queue="onboarding",
        priority_weight=5_000_000,
        retry_delay=timedelta(hours=1),
        max_retry_delay=timedelta(hours=1),
        execution_timeout=timedelta(hours=1),
    )
    assert step.priority_weight == 100_999
    assert step.retry_delay == step.max_retry_delay == timedelta(seconds=10)
    assert step.execution_timeout == timedelta(minutes=1)


def test_what_is_cut_is_told(make):
    with DAG("onboarding", schedule=None):
        step = classic(
            queue="onboarding",
            priority_weight=5_000_000,
            retry_delay=timedelta(hours=1),
            max_retry_delay=timedelta(hours=2),
            execution_timeout=timedelta(minutes=90),
        )
    cuts = [str(cut) for cut in policies.apply_to_task(step, FLEET, refuse=True)]
    whose = "DAG 'onboarding', task 'step': "
    assert cuts == [
        f"{whose}priority_weight: 5000000 was cut to 999 (0 to 999 within onboarding)",
        f"{whose}retry_delay: 1h was cut to 10s (queues.onboarding.retries.max_delay)",
        f"{whose}max_retry_delay: 2h was cut to 10s (queues.onboarding.retries.max_delay)",
        f"{whose}execution_timeout: 90m was cut to 1m (queues.onboarding.task_timeout)",
    ]
    assert policies.apply_to_task(step, FLEET, refuse=True) == [], "once"


def test_nothing_is_told_of_what_the_queue_fills_in(make):
    with DAG("onboarding", schedule=None):
        steps = [kind(queue="onboarding") for kind in (classic, mapped_decorated)]
    assert [policies.apply_to_task(step, FLEET, refuse=True) for step in steps] == [[], []]


def test_no_retries_are_kept_where_the_default_is_above_zero(make, monkeypatch):
    monkeypatch.setenv("AIRFLOW__CORE__DEFAULT_TASK_RETRIES", "2")
    assert make(queue="onboarding", retries=0).retries == 0
    assert make(queue="onboarding", retries=2).retries == 4


def without_line(error):
    found = re.fullmatch(r"test_policies\.py:\d+(: .*)", str(error))
    assert found, error
    return f"test_policies.py{found[1]}"


def test_refuses_an_unknown_queue(make):
    with pytest.raises(AirflowClusterPolicyViolation) as caught:
        make(queue="onbording")
    assert without_line(caught.value) == (
        "test_policies.py: DAG 'onboarding', task 'step': queue: expected one of batch, control, "
        "onboarding, found 'onbording'; did you mean 'onboarding'? (no queue at all means batch)"
    )


def test_refuses_a_dag_on_a_queue_that_is_for_others(make):
    with pytest.raises(AirflowClusterPolicyViolation) as caught:
        make(dag_id="airlane_canary", queue="onboarding")
    assert without_line(caught.value) == (
        "test_policies.py: DAG 'airlane_canary', task 'step': queue: expected one that this DAG "
        "may use (control, batch), found 'onboarding', which is for onboarding*. Name another "
        "queue, or add the DAG to queues.onboarding.allowed_dags in queues.yaml."
    )


def test_refuses_a_pool_of_the_author_s_own(make):
    with pytest.raises(AirflowClusterPolicyViolation, match=r"pool: expected none.* found 'mine'"):
        make(pool="mine")
    assert make(pool="batch").pool == "batch"


def test_elsewhere_nothing_is_refused(make):
    unknown = make(queue="gone", refuse=False)
    assert (unknown.queue, unknown.pool) == ("gone", "default_pool")
    step = make(dag_id="rescore", queue="onboarding", pool="mine", refuse=False)
    assert (step.pool, step.priority_weight) == ("onboarding", 100_001)


def test_the_limits_of_a_listener():
    with DAG("onboarding", schedule=None):
        endless = Listener(task_id="a", queue="control")
        bounded = Listener(task_id="b", queue="control", execution_timeout=timedelta(hours=9))
        awaited = Listener(task_id="c", queue="onboarding")
    for step in (endless, bounded, awaited):
        policies.apply_to_task(step, FLEET, refuse=True)
    assert endless.execution_timeout is None
    assert bounded.execution_timeout == timedelta(minutes=5)
    assert awaited.execution_timeout == timedelta(minutes=1)


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
        "test_policies.py: DAG 'onboarding', task 'step': mode: expected a sensor on onboarding to "
        "hold no slot while it waits, found mode='poke'. Set deferrable=True, or "
        "mode='reschedule'; or name another queue."
    )
    for good in ({"queue": "onboarding", "mode": "reschedule"}, {"queue": "batch"}):
        with DAG("onboarding", schedule=None):
            step = sensor(**good)
        policies.apply_to_task(step, FLEET, refuse=True)


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


def test_every_way_to_write_a_task_gets_the_same():
    with DAG("onboarding", schedule=None) as dag:

        @task_group
        def group():
            @task(queue="onboarding")
            def inner(): ...

            inner()

        @setup
        @task(queue="onboarding")
        def prepare(): ...

        @teardown
        @task(queue="onboarding")
        def clean(): ...

        @task(queue="onboarding")
        def work(): ...

        work.override(task_id="renamed")()
        group()
        with clean().as_teardown(setups=prepare()):
            work()
    for step in dag.tasks:
        policies.apply_to_task(step, FLEET, refuse=True)
    assert {step.task_id for step in dag.tasks} == {
        *("group.inner", "prepare", "clean", "work", "renamed")
    }
    kinds = {
        (step.pool, step.priority_weight, step.retries, step.execution_timeout)
        for step in dag.tasks
    }
    assert kinds == {("onboarding", 100_001, 4, timedelta(minutes=1))}


@given(
    st.sampled_from(KINDS),
    st.sampled_from(["onboarding", "control", "batch"]),
    st.integers(-(2**40), 2**40),
)
def test_no_author_s_weight_leaves_the_band(kind, queue, weight):
    with DAG("onboarding", schedule=None):
        step = kind(queue=queue, priority_weight=weight)
    policies.apply_to_task(step, FLEET, refuse=True)
    assert step.priority_weight // 1_000 == FLEET.queues[queue].priority


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
