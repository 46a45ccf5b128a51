"""What Flower and the events say of a message's arguments: readable, and never a token.

A workload's JSON begins with the token by which its task speaks to the API server, and Celery
shows the first 1,024 characters of a task's arguments to whoever looks (Flower, events, worker
logs). Before a message is published its description is replaced.
"""

from __future__ import annotations

import json
import re
from typing import Any

from celery.signals import before_task_publish

#: What is said of a message that is not understood.
UNKNOWN = "(unknown workload)"

_DESCRIPTION = re.compile(r"\((?:[\w.-]+ run=[^\"{}]+ try=\d+|[A-Za-z_]\w*)\)")


def describe(workload: object) -> str:
    """Return DAG, task, run, map index and try of a workload, as one readable text.

    Parameters
    ----------
    workload
        The JSON that Airflow's executor sends (`ExecuteTask`); anything else is described by
        the name of its type alone, so that nothing secret can slip through.
    """
    try:
        content = json.loads(workload) if isinstance(workload, str | bytes) else None
    except (ValueError, RecursionError):
        content = None
    match content:
        case {
            "ti": {
                "dag_id": str(dag),
                "task_id": str(task),
                "run_id": str(run),
                "try_number": int(number),
                **rest,
            }
        }:
            mapped = rest.get("map_index", -1)
            index = f" map_index={mapped}" if isinstance(mapped, int) and mapped >= 0 else ""
            return f"({dag}.{task} run={run}{index} try={number})"
        # a token has dots: it is no identifier
        case {"type": str(kind)} if kind.isidentifier():
            return f"({kind})"
        case _:
            return UNKNOWN


def told(text: object) -> str:
    """Return a description as `describe` makes it; anything else may hold a token."""
    return text if isinstance(text, str) and _DESCRIPTION.fullmatch(text) else UNKNOWN


def describe_before_publish(body: Any = None, headers: Any = None, **_: Any) -> None:
    """Replace the description of the arguments in a message's headers (a Celery signal handler).

    Of every message, whatever its task is called: a name that Airflow changes must not bring
    the tokens back.
    """
    if headers is None:
        return
    headers["argsrepr"], headers["kwargsrepr"] = UNKNOWN, "{}"
    match body:
        case [[workload], *_]:
            headers["argsrepr"] = describe(workload)


def connect() -> None:
    """Have every message that this process publishes described so."""
    before_task_publish.connect(describe_before_publish, weak=False)
