"""What Flower and the events say of a message's arguments: readable, and never a token.

A workload's JSON begins with the token by which its task speaks to the API server, and Celery
shows the first 1,024 characters of a task's arguments to whoever looks (Flower, events, worker
logs). Before a message is published its description is replaced.
"""

from __future__ import annotations

import json
from typing import Any

from celery.signals import before_task_publish


def describe(workload: str) -> str:
    """Return DAG, task, run, map index and try of a workload, as one readable text.

    Parameters
    ----------
    workload
        The JSON that Airflow's executor sends (`ExecuteTask`); anything else is described by
        its type alone, so that nothing secret can slip through.
    """
    try:
        content = json.loads(workload)
    except (ValueError, TypeError):
        content = None
    match content:
        case {"ti": {"dag_id": dag, "task_id": task, "run_id": run, "try_number": number, **rest}}:
            mapped = rest.get("map_index", -1)
            index = f" map_index={mapped}" if isinstance(mapped, int) and mapped >= 0 else ""
            return f"({dag}.{task} run={run}{index} try={number})"
        case {"type": str(kind)}:
            return f"({kind})"
        case _:
            return "(unknown workload)"


def describe_before_publish(
    sender: str | None = None, body: Any = None, headers: Any = None, **_: Any
) -> None:
    """Replace the description of the arguments in a message's headers (a Celery signal handler)."""
    if sender != "execute_workload" or not headers:
        return
    arguments = body[0] if isinstance(body, list | tuple) and body else ()
    headers["argsrepr"] = describe(arguments[0]) if arguments else "()"
    headers["kwargsrepr"] = "{}"


def connect() -> None:
    """Have every message that this process publishes described so."""
    before_task_publish.connect(describe_before_publish, weak=False)
