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
from collections.abc import Callable
from functools import cache, partial
from typing import Any

from airflow.exceptions import AirflowClusterPolicyViolation
from airflow.sdk import WeightRule

from airflow_config import queues, release
from airflow_config.cuts import Cut
from airflow_config.queue_entries import Queue
from airflow_config.queues import BAND, Fleet, QueuesError
from airflow_config.refusals import (
    has_timeout,
    refuse_poking_sensor,
    refuse_pool,
    refuse_queue,
    refuse_timeout,
)
from airflow_config.retry_waits import BACKOFF
from airflow_config.task_rules import active_tasks
from airflow_config.unsaid import is_unsaid

log = logging.getLogger(__name__)

#: Processes that parse one file after the other in children of their own: the model is read
#: before they fork.
_PARSING_PARTS = ("dag-processor", "worker-")

#: Attribute of a task that the policy has filled. Airflow applies it to a DAG each time that it
#: bags it, which is twice when two files of a folder import the same one; and a weight that was put
#: into its band looks like one that an author wrote. Serialized DAGs leave it out
#: (`get_serialized_fields` of both kinds of operators, Airflow 3.3.2).
_FILLED = "_airlane_filled"

#: Argument, wanted, given, limit.
MakeCut = Callable[[str, Any, Any, str], Cut]


def task_policy(task: Any) -> None:
    """Airflow's hook for tasks."""
    fleet = _fleet()
    if fleet is not None:
        _tell(apply_to_task(task, fleet, refuse=refusing()))


def dag_policy(dag: Any) -> None:
    """Airflow's hook for DAGs; it runs before that for their tasks."""
    fleet = _fleet()
    if fleet is not None:
        _tell(apply_to_dag(dag, fleet))
    release.mark(dag)


def _tell(cuts: list[Cut]) -> None:
    """Write what was cut into the log of the file, once where DAGs are taken in."""
    for cut in cuts if refusing() else ():
        log.info("%s", cut)


def refusing() -> bool:
    """Tell whether this process is one where DAGs are taken in.

    The launcher of each part sets AIRLANE_PART, and children of the DAG processor inherit it.
    """
    return (
        os.environ.get("AIRLANE_PART") == "dag-processor" or os.environ.get("AIRLANE_CHECK") == "1"
    )


def apply_to_task(task: Any, fleet: Fleet, *, refuse: bool) -> list[Cut]:
    """Fill in what a task's queue says; applying it twice changes nothing more.

    Parameters
    ----------
    task
        An operator, mapped or not.
    fleet
        The queue model.
    refuse
        Raise `Refusal` for what cannot be put right, instead of leaving it.

    Returns
    -------
    list of Cut
        What the author set beyond the queue's limits.

    Raises
    ------
    Refusal
        For an unknown queue, one that the DAG may not use, a pool, a sensor that would hold a slot
        of an urgent queue while it waits, a time limit that is no duration.
    """
    name = queue_name(task, fleet)
    queue = fleet.queues.get(name)
    if refuse:
        queue = refuse_queue(task, name, fleet)
        refuse_pool(task, queue)
        refuse_poking_sensor(task, queue)
        refuse_timeout(task)
    if queue is None or getattr(task, _FILLED, False) or not has_timeout(task):
        return []
    setattr(task, _FILLED, True)
    cut = partial(Cut, task.dag_id, task.task_id)
    task.queue = task.pool = queue.name
    return [
        *_fill_weight(task, queue, fleet, cut),
        *_fill_weight_rule(task, cut),
        *_fill_retries(task, queue, cut),
        *_fill_timeout(task, queue, cut),
    ]


def apply_to_dag(dag: Any, fleet: Fleet) -> list[Cut]:
    """Bound a DAG's active runs and tasks by its queues, so that none floods the scheduler.

    Bursts are let through where people wait. Elsewhere a run that waits costs nothing, and one that
    is examined does.
    """
    cut = partial(Cut, dag.dag_id, None)
    used = queues_of_dag(dag, fleet)
    cuts = []
    widest = max(used, key=lambda queue: queue.active_runs)
    bound = widest.active_runs
    if dag.timetable.active_runs_limit is not None:  # @continuous
        bound = min(bound, dag.timetable.active_runs_limit)
    wanted = dag.max_active_runs
    if is_unsaid("max_active_runs", wanted):
        dag.max_active_runs = bound
    elif not 0 < wanted <= bound:
        dag.max_active_runs = bound
        cuts.append(cut("max_active_runs", wanted, bound, f"active runs of {widest.name}"))
    # more than the largest fleet has slots could never run
    most = active_tasks(fleet, [queue.name for queue in used]).value
    wanted = dag.max_active_tasks
    if is_unsaid("max_active_tasks", wanted):
        dag.max_active_tasks = most
    elif not 0 < wanted <= most:
        dag.max_active_tasks = most
        cuts.append(cut("max_active_tasks", wanted, most, "slots of its queues on all hosts"))
    return cuts


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


def queue_name(task: Any, fleet: Fleet) -> str:
    """Return the queue that a task's author named, or the default one."""
    unnamed = task.queue in (None, "") or is_unsaid("queue", task.queue)
    return str(fleet.default_queue.name if unnamed else task.queue)


def queues_of_dag(dag: Any, fleet: Fleet) -> list[Queue]:
    """Return the known queues that a DAG's tasks are on, highest priority first, or the default."""
    names = {queue_name(task, fleet) for task in dag.tasks}
    return [queue for queue in fleet.queues.values() if queue.name in names] or [
        fleet.default_queue
    ]


def _fill_weight(task: Any, queue: Queue, fleet: Fleet, cut: MakeCut) -> list[Cut]:
    wanted = task.priority_weight
    task.priority_weight = fleet.weight(queue.name, wanted)
    given = task.priority_weight - queue.priority * BAND
    if given == wanted:
        return []
    return [cut("priority_weight", wanted, given, f"0 to {BAND - 1} within {queue.name}")]


def _fill_weight_rule(task: Any, cut: MakeCut) -> list[Cut]:
    wanted, task.weight_rule = task.weight_rule, WeightRule.ABSOLUTE
    if wanted == WeightRule.ABSOLUTE or is_unsaid("weight_rule", wanted):
        return []
    # a strategy of the author's own has no words for itself
    told = wanted if isinstance(wanted, str) else type(wanted).__name__
    limit = "always: others let a large DAG outgrow an urgent one"
    return [cut("weight_rule", told, WeightRule.ABSOLUTE, limit)]


def _fill_retries(task: Any, queue: Queue, cut: MakeCut) -> list[Cut]:
    retries = queue.retries
    if task.retries is None or is_unsaid("retries", task.retries):
        task.retries = retries.count
    if task.has_retry_policy:
        return []
    delay = retries.delay if is_unsaid("retry_delay", task.retry_delay) else task.retry_delay
    longest = task.max_retry_delay or retries.max_delay
    task.retry_delay = min(delay, retries.max_delay)
    task.max_retry_delay = min(longest, retries.max_delay)
    task.retry_exponential_backoff = task.retry_exponential_backoff or float(BACKOFF)
    limit = f"queues.{queue.name}.retries.max_delay"
    wanted = {"retry_delay": delay, "max_retry_delay": longest}
    return [
        cut(name, value, retries.max_delay, limit)
        for name, value in wanted.items()
        if value > retries.max_delay
    ]


def _fill_timeout(task: Any, queue: Queue, cut: MakeCut) -> list[Cut]:
    # A time limit frees a worker's slot. A task that starts in the triggerer holds none, and a
    # listener runs for ever; only where somebody waits for its end it is bounded all the same.
    in_triggerer = getattr(task, "start_from_trigger", False) is True
    wanted, limit = task.execution_timeout, queue.task_timeout
    if in_triggerer and wanted is None and not queue.promise:
        return []
    task.execution_timeout = min(wanted or limit, limit)
    if wanted is None or wanted <= limit:
        return []
    return [cut("execution_timeout", wanted, limit, f"queues.{queue.name}.task_timeout")]


if os.environ.get("AIRLANE_PART", "").startswith(_PARSING_PARTS):
    _load()
