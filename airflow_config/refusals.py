"""What the policies refuse: DAGs that cannot be put right, each told with how to put it right.

The text of a refusal is what the UI shows as an import error and what `airlane check` prints.
"""

from __future__ import annotations

import inspect
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.configuration import conf
from airflow.exceptions import AirflowClusterPolicyViolation
from airflow.sdk.bases.sensor import BaseSensorOperator

from airflow_config.dag_lines import line_of_task
from airflow_config.queue_entries import Queue
from airflow_config.queues import Fleet, UnknownQueueError

#: Airflow's name for "the author named no pool".
NO_POOL = "default_pool"


class Refusal(AirflowClusterPolicyViolation):
    """A task that cannot be taken in.

    Parameters
    ----------
    task
        The operator, mapped or not.
    argument
        Name of the argument that is wrong.
    value
        What its author wrote.
    message
        What was expected, what was found, how to put it right.
    """

    def __init__(self, task: Any, argument: str, value: object, message: str) -> None:
        self.file = file_of(task)
        self.line = line_of_task(self.file, task.task_id, argument, value) if self.file else None
        self.message = f"DAG {task.dag_id!r}, task {task.task_id!r}: {argument}: {message}"
        name = self.file.name if self.file else "unknown file"
        where = name if self.line is None else f"{name}:{self.line}"
        super().__init__(f"{where}: {self.message}")


def file_of(task: Any) -> Path | None:
    """Return the file that defines a task's DAG; None when it is not known."""
    dag = task.get_dag()
    return Path(dag.fileloc) if dag is not None and dag.fileloc else None


def refuse_queue(task: Any, name: str, fleet: Fleet) -> Queue:
    """Return the queue that a task named, or refuse an unknown one and one that is for others."""
    try:
        queue = fleet.find_queue(name)
    except UnknownQueueError as error:
        default = fleet.default_queue.name
        message = f"{error} (no queue at all means {default})"
        raise Refusal(task, "queue", name, message) from None
    if queue.allows(task.dag_id):
        return queue
    allowed = [other.name for other in fleet.queues.values() if other.allows(task.dag_id)]
    raise Refusal(
        task,
        "queue",
        name,
        f"expected one that this DAG may use ({', '.join(allowed)}), found {name!r}, which is for "
        f"{', '.join(queue.allowed_dags)}. Name another queue, or add the DAG to "
        f"queues.{name}.allowed_dags in queues.yaml.",
    )


def refuse_pool(task: Any, queue: Queue) -> None:
    """Refuse a pool of the author's own."""
    if task.pool not in (NO_POOL, queue.name):
        raise Refusal(
            task,
            "pool",
            task.pool,
            f"expected none, because each queue has its own, found {task.pool!r}. Remove it; "
            "max_active_tis_per_dag limits one task.",
        )


def refuse_timeout(task: Any) -> None:
    """Refuse an `execution_timeout` that is no duration.

    Airflow itself does, but not where a task is mapped (`OperatorPartial`, Airflow 3.3.2).
    """
    if not has_timeout(task):
        raise Refusal(
            task,
            "execution_timeout",
            task.execution_timeout,
            f"expected a duration, found {task.execution_timeout!r}. Write timedelta(seconds=...).",
        )


def has_timeout(task: Any) -> bool:
    """Tell whether a task's `execution_timeout` is a duration, or unsaid."""
    return isinstance(task.execution_timeout, timedelta | None)


def refuse_poking_sensor(task: Any, queue: Queue) -> None:
    """Refuse a sensor that holds a slot of an urgent queue while it waits."""
    if queue.promise and _pokes(task):
        raise Refusal(
            task,
            "mode",
            "poke",
            f"expected a sensor on {queue.name} to hold no slot while it waits, found mode='poke'. "
            "Set deferrable=True, or mode='reschedule'; or name another queue.",
        )


def _pokes(task: Any) -> bool:
    kind = getattr(task, "operator_class", type(task))
    if not isinstance(kind, type) or not issubclass(kind, BaseSensorOperator):
        return False
    words = getattr(task, "partial_kwargs", None)  # of a mapped one
    if (task.mode if words is None else words.get("mode", "poke")) != "poke":
        return False
    if not _may_defer(kind):
        # older ones defer always, such as DateTimeSensorAsync
        sensor: Any = kind
        return "defer" not in inspect.unwrap(sensor.execute).__code__.co_names
    if words is None:
        return not task.deferrable
    unset = conf.getboolean("operators", "default_deferrable", fallback=False)
    return not words.get("deferrable", unset)


def _may_defer(kind: type) -> bool:
    makers = [vars(base)["__init__"] for base in kind.__mro__ if "__init__" in vars(base)]
    return any("deferrable" in inspect.signature(make).parameters for make in makers)
