"""What every DAG and task gets from the queue that its author named: Airflow's cluster policies.

Authors write `@task(queue="onboarding")` and nothing else. The policies fill in what follows
from the queue, keep what an author set within the queue's limits, and refuse what cannot be put
right: an unknown queue, a queue that the DAG may not use, a pool of the author's own.

They refuse only where DAGs are taken in: in the DAG processor and in `airlane check`. Workers
parse the same files to run a task, with a queues.yaml that may be older or newer for the moment
of an upgrade; there the policies only fill, and leave alone what they do not know.
"""

from __future__ import annotations

import logging
import os
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

from airflow.configuration import conf
from airflow.exceptions import AirflowClusterPolicyViolation
from airflow.sdk import WeightRule

from airflow_config import queues, release
from airflow_config.queues import BAND, Fleet, Queue, QueuesError, UnknownQueueError

log = logging.getLogger(__name__)

#: Factor between one retry's delay and the next one's, for tasks whose author set none.
BACKOFF = 2.0

#: Airflow's name for "the author named no pool".
NO_POOL = "default_pool"

#: Processes that parse one file after the other in children of their own: the model is read
#: before they fork.
_PARSING_PARTS = ("dag-processor", "worker-")


def task_policy(task: Any) -> None:
    """Airflow's hook for tasks."""
    fleet = _fleet()
    if fleet is not None:
        apply_to_task(task, fleet, refuse=refusing())


def dag_policy(dag: Any) -> None:
    """Airflow's hook for DAGs; it runs before that for their tasks."""
    fleet = _fleet()
    if fleet is not None:
        apply_to_dag(dag, fleet)
    release.mark(dag)


def refusing() -> bool:
    """Tell whether this process is one where DAGs are taken in.

    The launcher of each part sets AIRLANE_PART, and children of the DAG processor inherit it.
    """
    return (
        os.environ.get("AIRLANE_PART") == "dag-processor" or os.environ.get("AIRLANE_CHECK") == "1"
    )


def apply_to_task(task: Any, fleet: Fleet, *, refuse: bool) -> None:
    """Fill in what a task's queue says; applying it twice changes nothing more.

    Parameters
    ----------
    task
        An operator, mapped or not.
    fleet
        The queue model.
    refuse
        Raise `AirflowClusterPolicyViolation` for what cannot be put right, instead of leaving it.
    """
    name = _queue_name(task, fleet)
    queue = fleet.queues.get(name)
    if refuse:
        _refuse_queue(task, name, queue, fleet)
        _refuse_pool(task, name)
    if queue is None:
        return
    task.queue = task.pool = queue.name
    task.weight_rule = WeightRule.ABSOLUTE
    # An author's weight is below a band; one inside this band was put there before.
    if not 0 <= task.priority_weight - queue.priority * BAND < BAND:
        task.priority_weight = fleet.weight(queue.name, task.priority_weight)
    _fill_retries(task, queue)
    _fill_timeout(task, queue)


def apply_to_dag(dag: Any, fleet: Fleet) -> None:
    """Bound a DAG's active runs by its queues: bursts where people wait, no floods elsewhere."""
    names = {_queue_name(task, fleet) for task in dag.tasks}
    used = [fleet.queues[name] for name in names if name in fleet.queues]
    bound = max((queue.active_runs for queue in used), default=fleet.default_queue.active_runs)
    if dag.timetable.active_runs_limit is not None:  # @continuous
        bound = min(bound, dag.timetable.active_runs_limit)
    unset = conf.getint("core", "max_active_runs_per_dag")
    if dag.max_active_runs == unset or not 0 < dag.max_active_runs <= bound:
        dag.max_active_runs = bound


@cache
def _load() -> Fleet | QueuesError:
    try:
        return queues.load()
    except QueuesError as error:
        log.warning("The queue model cannot be used:\n%s", error)
        return error


def _fleet() -> Fleet | None:
    """Return the queue model, read once per process; None when tasks must do without."""
    loaded = _load()
    if isinstance(loaded, Fleet):
        return loaded
    if refusing():
        raise AirflowClusterPolicyViolation(f"The queue model cannot be used.\n{loaded}")
    return None


def _queue_name(task: Any, fleet: Fleet) -> str:
    unset = conf.get("operators", "default_queue")
    return str(fleet.default_queue.name if task.queue in (None, "", unset) else task.queue)


def _refuse_queue(task: Any, name: str, queue: Queue | None, fleet: Fleet) -> None:
    if queue is None:
        raise AirflowClusterPolicyViolation(
            f"{_place(task)}: queue: {UnknownQueueError(name, fleet.queues)} "
            f"(no queue at all means {fleet.default_queue.name})"
        )
    if not queue.allows(task.dag_id):
        allowed = [other.name for other in fleet.queues.values() if other.allows(task.dag_id)]
        raise AirflowClusterPolicyViolation(
            f"{_place(task)}: queue: expected one that this DAG may use ({', '.join(allowed)}), "
            f"found {name!r}, which is for {', '.join(queue.allowed_dags)}. Name another queue, "
            f"or add the DAG to queues.{name}.allowed_dags in queues.yaml."
        )


def _refuse_pool(task: Any, name: str) -> None:
    if task.pool not in (NO_POOL, name):
        raise AirflowClusterPolicyViolation(
            f"{_place(task)}: pool: expected none, because each queue has its own, found "
            f"{task.pool!r}. Remove it; max_active_tis_per_dag limits one task."
        )


def _place(task: Any) -> str:
    dag = task.get_dag()
    file = dag.fileloc if dag is not None else ""
    return f"{Path(file or 'unknown file').name}: DAG {task.dag_id!r}, task {task.task_id!r}"


def _fill_retries(task: Any, queue: Queue) -> None:
    if task.has_retry_policy:
        return
    retries = queue.retries
    # An author who writes the default's own value looks like one who wrote nothing; the
    # default is above zero (see settings), so that `retries=0` is kept.
    if task.retries is None or task.retries == conf.getint("core", "default_task_retries"):
        task.retries = retries.count
    unset = timedelta(seconds=conf.getint("core", "default_task_retry_delay"))
    delay = retries.delay if task.retry_delay == unset else task.retry_delay
    task.retry_delay = min(delay, retries.max_delay)
    task.max_retry_delay = min(task.max_retry_delay or retries.max_delay, retries.max_delay)
    task.retry_exponential_backoff = task.retry_exponential_backoff or BACKOFF


def _fill_timeout(task: Any, queue: Queue) -> None:
    # A time limit frees a worker's slot. A task that starts in the triggerer holds none, and a
    # listener runs for ever; only where somebody waits for its end it is bounded all the same.
    in_triggerer = getattr(task, "start_from_trigger", False) is True
    if in_triggerer and task.execution_timeout is None and not queue.promise:
        return
    task.execution_timeout = min(task.execution_timeout or queue.task_timeout, queue.task_timeout)


if os.environ.get("AIRLANE_PART", "").startswith(_PARSING_PARTS):
    _load()
