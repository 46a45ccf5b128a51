"""Tasks of each kind that an author can write, and a fleet whose policy they pass."""

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, setup, task, task_group, teardown

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


def grouped(**words):
    made = []

    # without a prefix, so that the task is called as those of the other kinds
    @task_group(prefix_group_id=False)
    def group():
        made.append(decorated(**words))

    group()
    return made[0]


def in_mapped_group(**words):
    made = []

    @task_group(prefix_group_id=False)
    def group(x):
        @task(task_id="step", **words)
        def step(x): ...

        made.append(step(x).operator)

    group.expand(x=[1, 2])
    return made[0]


def prepares(**words):
    @setup
    @task(task_id="step", **words)
    def step(): ...

    return step().operator


def cleans(**words):
    @teardown
    @task(task_id="step", **words)
    def step(): ...

    return step().operator


KINDS = [
    *(classic, mapped_classic, decorated, mapped_decorated),
    *(grouped, in_mapped_group, prepares, cleans),
]


def applied(kind, dag_id="onboarding", refuse=True, **words):
    """Return a task of a kind, in a DAG, with the policy applied."""
    with DAG(dag_id, schedule=None):
        step = kind(**words)
    policies.apply_to_task(step, FLEET, refuse=refuse)
    return step
