"""What a task gets from its queue, value by value, with the reason: the words beside `policies`.

Needs no Airflow: `airlane explain QUEUE` shows the rules of a queue, and `airlane explain DAG.TASK`
what the policies made of an author's values by them. A test proves on real tasks that the policies
do what stands here.
"""

from __future__ import annotations

from collections.abc import Collection

from airflow_config.derivation import Derived
from airflow_config.durations import format_duration
from airflow_config.queues import BAND, Fleet
from airflow_config.retry_waits import BACKOFF


def task_rules(fleet: Fleet, name: str) -> dict[str, Derived]:
    """Return what tasks of a queue get whose author set nothing: attribute -> value and why.

    Parameters
    ----------
    fleet
        The queue model.
    name
        A queue of it.
    """
    queue = fleet.find_queue(name)
    entry = ("queues", name)
    retries = queue.retries
    longest = format_duration(retries.max_delay)
    timeout = format_duration(queue.task_timeout)
    found = [
        Derived("queue", name, "named by the author, or the default queue", (entry,)),
        Derived("pool", name, "each queue has a pool of its own, named like it", (entry,)),
        Derived(
            "priority_weight",
            fleet.weight(name, 1),
            f"priority x {BAND:,} + the author's own weight, 0 to {BAND - 1}; Airflow's default "
            "is 1",
            ((*entry, "priority"),),
        ),
        Derived(
            "weight_rule",
            "absolute",
            "always: Airflow's default lets a large DAG outgrow an urgent one",
        ),
        Derived(
            "retries",
            retries.count,
            "kept when the author set it, 0 too",
            ((*entry, "retries", "count"),),
        ),
        Derived(
            "retry_delay",
            format_duration(min(retries.delay, retries.max_delay)),
            f"kept up to {longest} when the author set it",
            ((*entry, "retries", "delay"), (*entry, "retries", "max_delay")),
        ),
        Derived(
            "max_retry_delay",
            longest,
            f"kept up to {longest} when the author set it",
            ((*entry, "retries", "max_delay"),),
        ),
        Derived(
            "retry_exponential_backoff",
            float(BACKOFF),
            "kept when the author set it: the factor from one delay to the next; 0 and False look "
            "like nothing said, 1 is a delay that stays",
        ),
        Derived(
            "execution_timeout",
            timeout,
            f"kept up to {timeout} when the author set it",
            ((*entry, "task_timeout"),),
        ),
    ]
    return {derived.name: derived for derived in found}


def active_tasks(fleet: Fleet, names: Collection[str]) -> Derived:
    """Return the bound of active tasks in a run of a DAG on these queues, and why."""
    counts = fleet.largest()
    slots = fleet.pool_slots(counts)
    keys: list[tuple[str, ...]] = []
    for name, worker in fleet.workers.items():
        if any(queue in names for queue in fleet.consumes(name)):
            hosts = ("hosts", "max") if counts[name] == worker.hosts.max else ("local",)
            keys += [("workers", name, *hosts), ("workers", name, "concurrency")]
    return Derived(
        "max_active_tasks",
        sum(slots[name] for name in names),
        f"slots that {', '.join(names)} may have on all hosts: more could never run; a lower one "
        "of its author's is kept",
        tuple(keys),
    )


def active_runs(fleet: Fleet, name: str) -> Derived:
    """Return the bound of active runs of a DAG on a queue, and why."""
    queue = fleet.find_queue(name)
    if queue.max_active_runs is not None:
        why, key = "as the queue says", "max_active_runs"
    elif queue.promise:
        why, key = "a queue with a promise takes a burst at once", "promise"
    else:
        why, key = "a run that waits costs nothing, one that is examined does", "max_active_runs"
    why += "; a DAG on several queues gets the highest, and keeps a lower one of its author's"
    return Derived("max_active_runs", queue.active_runs, why, (("queues", name, key),))
