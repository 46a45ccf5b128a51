"""Canaries: a task that goes through one worker on one host, and through no other.

The id of a canary's run names the worker: `canary~NODE~MARK`, with `~at~` for the `@` that a run
id may not hold: `canary~onboarding~at~w3~k7f2`. The executor sends the tasks of such a run to the
worker's own Celery queue, `canary.onboarding@w3`, which every worker consumes beside those of its
class, also while it is off duty (`workers.duty`).

For Airflow a canary is a task of the queue `control` like all small work of the platform: pool,
weight, time limit and permission come from there, so that the policies need no exception and
queues.yaml no entry for each host. Only where the message is put differs, and only for this DAG.
"""

from __future__ import annotations

import os
import re
import socket
from dataclasses import dataclass
from typing import Any

DAG_ID = "airlane_canary"
#: The one task of the DAG; its return value is what the worker says of itself.
TASK_ID = "answer"

#: Begins the name of a worker's own queue. Queues of queues.yaml have no dot, so none is hidden.
PREFIX = "canary."

_AT = "~at~"
_RUN = re.compile(
    r"canary~(?P<worker>[a-z][a-z0-9_]*(?:-\d+)?)~at~(?P<host>[A-Za-z0-9_.-]+)~(?P<mark>[a-z0-9]+)"
)
_NODE = re.compile(r"(?P<worker>[a-z][a-z0-9_]*(?:-\d+)?)@(?P<host>[A-Za-z0-9_.-]+)")


class NodeError(ValueError):
    """Expected a worker's node name, such as `onboarding@w3`."""


@dataclass(frozen=True)
class Target:
    """The worker that a canary is meant for.

    Parameters
    ----------
    node
        Celery's node name, such as `onboarding@w3`.
    """

    node: str

    @property
    def queue(self) -> str:
        """The worker's own Celery queue."""
        return own_queue(self.node)

    def run_id(self, mark: str) -> str:
        """Return the id of a run for this worker; `mark` (a-z, 0-9) tells runs apart."""
        return f"canary~{self.node.replace('@', _AT)}~{mark}"


def own_queue(node: str) -> str:
    """Return the Celery queue that one worker alone consumes."""
    return f"{PREFIX}{node}"


def is_own_queue(name: str) -> bool:
    """Tell whether a Celery queue is a worker's own, not one of queues.yaml."""
    return name.startswith(PREFIX)


def target(node: str) -> Target:
    """Return the worker of this node name.

    Raises
    ------
    NodeError
        When it is none.
    """
    if not _NODE.fullmatch(node):
        raise NodeError(
            f"expected CLASS@HOST, such as onboarding@w3, found {node!r}. Fix: take a name from "
            "`airlane workers`"
        )
    return Target(node)


def target_of_run(dag_id: str, run_id: str) -> Target | None:
    """Return the worker that a run is meant for, or None when it is for any."""
    if dag_id != DAG_ID:
        return None
    found = _RUN.fullmatch(run_id)
    return Target(f"{found['worker']}@{found['host']}") if found else None


def route(message: tuple[Any, Any, Any, Any]) -> tuple[Any, Any, Any, Any]:
    """Return what the executor sends, with a canary's own queue in the place of its task's.

    Parameters
    ----------
    message
        Key, workload, queue, team: `WorkloadInCelery` of the Celery provider 3.26.
    """
    key, workload, queue, team = message
    ti = getattr(workload, "ti", None)
    if ti is None or ti.dag_id != DAG_ID:
        return message
    meant = target_of_run(ti.dag_id, ti.run_id)
    return (key, workload, meant.queue if meant else queue, team)


def this_node() -> str:
    """Return the node name of the worker that this process belongs to, from its part's name."""
    part = os.environ.get("AIRLANE_PART", "")
    return f"{part.removeprefix('worker-')}@{socket.gethostname()}"
