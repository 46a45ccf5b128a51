"""What Ansible must know of queues.yaml and of this release, so that no role says it again."""

from __future__ import annotations

from typing import Any

from airflow_config import release
from airflow_config.queues import Fleet
from deploy.fleet import secrets

#: Seconds beyond the drain limit after which systemd kills a worker.
MARGIN = 60
#: Least and greatest CPUWeight (100 is every unit's).
_HEAVIEST, _LIGHTEST = 800, 50


def facts(fleet: Fleet) -> dict[str, Any]:
    """Return what `airlane fleet facts --json` prints."""
    return {
        "release": release.current(),
        "classes": {name: _class(fleet, name) for name in fleet.workers},
        "secrets": {role: list(names) for role, names in secrets.NEEDS.items()},
    }


def _class(fleet: Fleet, name: str) -> dict[str, Any]:
    worker = fleet.workers[name]
    drain = int(fleet.drain_limit(name).total_seconds())
    urgent = {queue.name for queue in fleet.urgent}
    return {
        "home": worker.home,
        "queues": list(fleet.consumes(name)),
        "concurrency": worker.concurrency,
        "hosts": {"min": worker.hosts.min, "max": worker.hosts.max},
        "drain_limit_s": drain,
        "timeout_stop_s": drain + MARGIN,
        "urgent": worker.home in urgent,
        "cpu_weight": _weight(fleet, worker.home),
        "io_weight": _weight(fleet, worker.home),
        "task_memory": _memory(fleet, name),
    }


def _weight(fleet: Fleet, queue: str) -> int:
    """Return a queue's share of a host on which several classes run: by its place in priority."""
    if fleet.queues[queue].default:
        return _LIGHTEST
    order = [name for name, other in fleet.queues.items() if not other.default]
    # halved from one queue to the next, never below a unit that says nothing
    return max(_HEAVIEST >> order.index(queue), 100)


def _memory(fleet: Fleet, name: str) -> int | None:
    """Return the bytes that the tasks of a worker take at most; None when one has no bound."""
    bounds = [fleet.queues[queue].task_memory for queue in fleet.consumes(name)]
    if any(bound is None for bound in bounds):
        return None
    return fleet.workers[name].concurrency * max(bound for bound in bounds if bound is not None)
