"""Airflow's settings that follow from queues.yaml, each with its reason and who reads it.

Who reads a setting decides what has to be started anew when it changes (`airlane diff`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from airflow_config.derivation import Derived
from airflow_config.durations import format_duration
from airflow_config.queues import PARALLELISM_MARGIN, Fleet

#: Bounds of the time (seconds) that a message may lie on the broker before it is sent again.
QUEUED_TIMEOUT_MIN, QUEUED_TIMEOUT_MAX = 60, 600

#: How long all workers of a class may be away before waiting tasks fail.
AWAY = timedelta(days=7)

#: Read where DAG files are parsed into the database, and where they are read from there.
_OF_DAGS = ("dag-processor", "scheduler")


@dataclass(frozen=True)
class QueueSetting:
    """A setting that follows from queues.yaml.

    Parameters
    ----------
    derived
        Its value as airflow.cfg has it, and why.
    roles
        Whose airflow.cfg has it.
    readers
        The parts that read it and keep what they read; None for all of these roles.
    """

    derived: Derived
    roles: tuple[str, ...]
    readers: tuple[str, ...] | None


#: Section and key of a setting.
Key = tuple[str, str]


def derive(fleet: Fleet) -> Mapping[Key, QueueSetting]:
    """Return every setting that follows from queues.yaml (Airflow 3.3.2 says who reads it)."""
    default = fleet.default_queue
    entry = ("queues", default.name)
    parallelism = str(fleet.parallelism())
    most = tuple(("workers", name, "hosts", "max") for name in fleet.workers)
    queued, visible = queued_timeout(fleet), visibility_timeout(fleet)
    stuck = int(AWAY.total_seconds()) // queued.value
    everyone, control, worker = ("control", "worker"), ("control",), ("worker",)
    found = [
        ("core", "parallelism", parallelism, control, ("scheduler",), most,
         f"the slots of all pools for the largest fleet, and {PARALLELISM_MARGIN} for messages in "
         "doubt, so that pools are the only limit of what is on the broker"),
        ("core", "default_task_retry_delay", str(int(default.retries.delay.total_seconds())),
         everyone, _OF_DAGS, ((*entry, "retries", "delay"),),
         f"seconds, of {default.name}, the default queue; for what policies leave alone"),
        ("operators", "default_queue", default.name, everyone, None, ((*entry, "default"),),
         "the queue of tasks that name none"),
        ("celery_broker_transport_options", "visibility_timeout", str(visible.value), everyone,
         ("scheduler",), visible.keys, visible.why),
        # Also the life of the token that a message carries, so that an old message that was sent
        # again cannot start its task a second time.
        ("scheduler", "task_queued_timeout", str(queued.value), control, ("scheduler",),
         queued.keys, queued.why),
        # Airflow fails a task after two requeues; a worker that is away must not cost that.
        ("scheduler", "num_stuck_in_queued_retries", str(stuck), control, ("scheduler",),
         queued.keys, f"so that tasks outlast workers that are away for {format_duration(AWAY)}"),
        # A worker depends on those of its own queues, which its command line names.
        ("sdk", "queue_to_coordinator", json.dumps(dict.fromkeys(fleet.queues, "airlane")), worker,
         (), tuple(("queues", name) for name in fleet.queues),
         "who runs the tasks of a queue: Airflow's own way, in a process that is warm"),
    ]  # fmt: skip
    return {
        (section, key): QueueSetting(
            Derived(f"[{section}] {key}", value, why, keys), roles, readers
        )
        for section, key, value, roles, readers, keys, why in found
    }


def of_role(fleet: Fleet, role: str) -> dict[str, dict[str, str]]:
    """Return what airflow.cfg of a role gets from queues.yaml: section -> key -> value."""
    found: dict[str, dict[str, str]] = {}
    for (section, key), setting in derive(fleet).items():
        if role in setting.roles:
            found.setdefault(section, {})[key] = setting.derived.value
    return found


def queued_timeout(fleet: Fleet) -> Derived:
    """Return the seconds after which a message that no worker took is sent again.

    A worker that is killed right after it took a message leaves its task queued. Half of the
    tightest promise leaves time for a second try. Waiting for a free worker counts too, but
    pools hold no more than the workers can run, so that only a worker that is away makes
    messages wait this long.
    """
    name = "seconds until a message that no worker took is sent again"
    promises = {queue.name: queue.promise.end_to_end for queue in fleet.urgent if queue.promise}
    if not promises:
        return Derived(name, QUEUED_TIMEOUT_MAX, "no queue has a promise")
    tightest = min(promises, key=lambda queue: promises[queue])
    half = int(promises[tightest].total_seconds() / 2)
    return Derived(
        name,
        min(max(half, QUEUED_TIMEOUT_MIN), QUEUED_TIMEOUT_MAX),
        f"half of the shortest promise, {format_duration(promises[tightest])} of {tightest}, "
        f"within {QUEUED_TIMEOUT_MIN} and {QUEUED_TIMEOUT_MAX} s: time for a second try",
        (("queues", tightest, "promise", "end_to_end"),),
    )


def visibility_timeout(fleet: Fleet) -> Derived:
    """Return the seconds after which the broker gives a message that was not confirmed again.

    Messages are confirmed when their task ends, so it must outlast the longest task, also one
    that waited behind another. What a killed worker held comes back much sooner, by the
    heartbeat and queued time-outs.
    """
    longest = max(fleet.queues.values(), key=lambda queue: queue.task_timeout)
    return Derived(
        "seconds until the broker gives a message that was not confirmed again",
        int((2 * longest.task_timeout + timedelta(hours=1)).total_seconds()),
        f"twice the longest task_timeout, {format_duration(longest.task_timeout)} of "
        f"{longest.name}, and an hour: it must outlast a task that waited behind another",
        (("queues", longest.name, "task_timeout"),),
    )
