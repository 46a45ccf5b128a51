"""What a task gets from its queue, and what it keeps of its author's."""

import json
import operator
from datetime import timedelta
from functools import partial

import pytest
from airflow.sdk import DAG, BaseOperator, WeightRule, setup, task, task_group, teardown
from airflow.serialization.serialized_objects import DagSerialization
from airflow.task.priority_strategy import PriorityWeightStrategy
from hypothesis import given
from hypothesis import strategies as st

from airflow_config import policies
from tests.unit.policy_tasks import FLEET, KINDS, applied, classic, mapped_decorated


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def make(request):
    """Makes a task of each kind, with the policy applied."""
    return partial(applied, request.param)


class Own(PriorityWeightStrategy):
    def get_weight(self, _ti):
        return 7


class Listener(BaseOperator):
    start_from_trigger = True


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
    step = make(queue="onboarding", priority_weight=5, retries=7, weight_rule="upstream")
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


def test_an_author_s_weight_inside_the_band_is_cut_like_any_other(make):
    # 1500 lies in batch's own band: it must not outdo what another author's 999 becomes
    step = make(dag_id="anything", priority_weight=1_500)
    assert step.priority_weight == make(dag_id="anything", priority_weight=999).priority_weight
    before = facts(step)
    assert policies.apply_to_task(step, FLEET, refuse=True) == []
    assert facts(step) == before


def test_a_task_that_was_filled_is_serialized_as_any_other(make):
    step = make(queue="onboarding")
    assert "airlane" not in json.dumps(DagSerialization.to_dict(step.dag)["dag"]["tasks"])


def test_each_weight_and_rule_that_was_cut_is_told(make):
    def cuts(**words):
        with DAG("onboarding", schedule=None):
            step = make.args[0](**words)
        return [str(cut) for cut in policies.apply_to_task(step, FLEET, refuse=True)]

    whose = "DAG 'onboarding', task 'step': "
    assert cuts(priority_weight=1_500) == [
        f"{whose}priority_weight: 1500 was cut to 999 (0 to 999 within batch)"
    ]
    always = "was cut to absolute (always: others let a large DAG outgrow an urgent one)"
    assert cuts(weight_rule="upstream") == [f"{whose}weight_rule: upstream {always}"]
    assert cuts(weight_rule=WeightRule.UPSTREAM) == [f"{whose}weight_rule: upstream {always}"]
    assert cuts(weight_rule=Own()) == [f"{whose}weight_rule: Own {always}"]
    assert cuts(weight_rule="absolute") == []


def test_nothing_is_told_of_what_the_queue_fills_in(make):
    with DAG("onboarding", schedule=None):
        steps = [kind(queue="onboarding") for kind in (classic, mapped_decorated)]
    assert [policies.apply_to_task(step, FLEET, refuse=True) for step in steps] == [[], []]


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


#: Authors' weights; most of them where a band begins or ends.
WEIGHTS = st.one_of(
    st.integers(-(2**40), 2**40),
    st.builds(
        operator.add, st.sampled_from([0, 999, 1_000, 50_000, 100_000]), st.integers(-9, 999)
    ),
)


@given(st.sampled_from(KINDS), st.sampled_from(["onboarding", "control", "batch"]), WEIGHTS)
def test_no_author_s_weight_leaves_the_band(kind, queue, weight):
    with DAG("onboarding", schedule=None):
        step = kind(queue=queue, priority_weight=weight)
    cuts = policies.apply_to_task(step, FLEET, refuse=True)
    own = min(max(weight, 0), 999)
    assert step.priority_weight == FLEET.queues[queue].priority * 1_000 + own
    assert [(cut.argument, cut.given) for cut in cuts] == [("priority_weight", own)] * (
        weight != own
    )
    assert policies.apply_to_task(step, FLEET, refuse=True) == []
    assert step.priority_weight == FLEET.queues[queue].priority * 1_000 + own
