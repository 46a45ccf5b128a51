"""All of the queue model that workers of a class depend on."""

from __future__ import annotations

from typing import Any

from airflow_config.queues import Fleet
from workers.command import worker_command


def preloaded(fleet: Fleet, name: str) -> tuple[str, ...]:
    """Return what a class preloads: its own modules, and those of the queues that it serves.

    Lent capacity must start urgent work as warm as the work's own class does.
    """
    served = fleet.consumes(name)
    classes = [worker for worker in fleet.workers.values() if worker.home in served]
    return tuple(dict.fromkeys(module for worker in classes for module in worker.preload))


def class_facts(fleet: Fleet, name: str) -> dict[str, Any]:
    """Return what a worker reads of the model when it starts, and keeps.

    When it has changed, workers of the class must be started anew; when not, they need not be.
    What is said of a queue for the scheduler or for people alone (its description, who may use
    it) is no part of it.
    """
    words = worker_command(fleet, name)
    return {
        # without the interpreter, which is the release's
        "command": words[words.index("celery") :],
        "preload": list(preloaded(fleet, name)),
        "default_queue": fleet.default_queue.name,
        "queues": {queue: _queue(fleet, queue) for queue in fleet.consumes(name)},
    }


def _queue(fleet: Fleet, name: str) -> dict[str, Any]:
    queue = fleet.queues[name]
    # the policies and the coordinator (workers.coordinator) read these
    found = queue.model_dump(
        mode="json", include={"priority", "task_timeout", "task_memory", "retries"}
    )
    return {**found, "urgent": queue.promise is not None}
