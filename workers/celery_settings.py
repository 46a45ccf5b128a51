"""What airlane sets of Celery's beyond Airflow's own: the same for all, and for each class."""

from __future__ import annotations

from typing import Any


def transport_options(worker_class: str | None) -> dict[str, Any]:
    """Return what Redis transport options a process needs beyond Airflow's.

    A worker takes its queues in the order of its command line, most urgent first, so that lent
    capacity serves urgent work first; kombu's default is round robin. The keys in which kombu
    remembers what is not acknowledged are the class's own: by default one class would restore
    another's messages.
    """
    if worker_class is None:
        return {}
    return {
        "queue_order_strategy": "priority",
        "unacked_key": f"unacked:{worker_class}",
        "unacked_index_key": f"unacked_index:{worker_class}",
        "unacked_mutex_key": f"unacked_mutex:{worker_class}",
    }


#: Tasks after which a Celery process is replaced by a new one.
TASKS_PER_CHILD = 1_000

#: Seconds after which it is, whichever comes first; up to a quarter more.
SECONDS_PER_CHILD = 6 * 3600

#: Settings of every process that speaks Celery.
OWN: dict[str, Any] = {
    # A worker takes a message when it has a free process, never to keep it for later (Celery 5.6).
    "worker_disable_prefetch": True,
    # A Celery process ends after so many tasks, each of which had a process of its own anyway, and
    # is forked anew: what Airflow's supervisor leaks does not add up for ever. Its slot is away for
    # about a second then.
    "worker_max_tasks_per_child": TASKS_PER_CHILD,
    # Task events are what Flower lives on.
    "worker_send_task_events": True,
    # This event carries the arguments as they are, with the token; no signal can change it.
    "task_send_sent_event": False,
    # What `inspect` shows of a message; by default its arguments, with the token.
    "task_annotations": {"*": {"Request": "workers.request:DescribedRequest"}},
}
